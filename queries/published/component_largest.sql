-- component_largest: tokens of the largest component at distance < 0.002 (1.4h).
select n_tokens as component_largest
from components
where component_rank = 1;
