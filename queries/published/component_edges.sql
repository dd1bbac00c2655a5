-- component_edges: pairs of tokens at distance < 0.002 within the largest component
-- (the notebook counted the spike's 20373 tokens: all its edges lie in that component)
-- (1.4h).
select n_edges as component_edges
from components
where component_rank = 1;
