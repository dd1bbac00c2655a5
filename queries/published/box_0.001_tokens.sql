select count(*) as n_tokens
from box_search(-7.2888, 6.9400, 0.0010);
