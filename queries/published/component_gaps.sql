select count(*) as n_gaps
from component_gaps();
