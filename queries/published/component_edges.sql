select n_edges as component_edges
from components
where component_rank = 1;
