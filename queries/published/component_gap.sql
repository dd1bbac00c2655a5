select gap as component_gap
from components
where component_rank = 1;
