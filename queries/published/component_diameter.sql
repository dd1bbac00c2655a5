-- component_diameter: largest distance within it (Azimuth II 1.4g).
select diameter as component_diameter
from components
order by n_tokens desc, component asc
limit 1;
