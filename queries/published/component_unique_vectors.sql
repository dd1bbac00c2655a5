-- component_unique_vectors: distinct vectors in it (Azimuth II 1.11a).
select n_vectors as component_unique_vectors
from components
where component_rank = 1;
