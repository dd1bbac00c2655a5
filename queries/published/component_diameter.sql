-- component_diameter: largest distance within it (Azimuth II 1.4g).
select diameter as component_diameter
from components
where component_rank = 1;
