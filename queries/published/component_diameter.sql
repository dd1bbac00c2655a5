select diameter as component_diameter
from components
where component_rank = 1;
