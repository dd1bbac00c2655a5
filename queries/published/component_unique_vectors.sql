select n_vectors as component_unique_vectors
from components
where component_rank = 1;
