-- component_gap: distance from it to the nearest other token (Azimuth II 1.4g).
select gap as component_gap
from components
where component_rank = 1;
