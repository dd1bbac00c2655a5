-- component_largest: tokens of the largest component at distance < 0.002 (1.4h).
select n_tokens as component_largest
from components
order by n_tokens desc, component asc
limit 1;
