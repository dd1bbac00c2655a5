select count(*) as n_tokens
from box_search(-7.283405, 6.936738, 0.1);
