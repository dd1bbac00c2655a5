select n_tokens as component_largest
from components
where component_rank = 1;
