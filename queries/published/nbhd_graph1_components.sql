select count(*) as n_components
from neighborhood_components(5);
