-- box_0.001_tokens: tokens in the square window of diameter 0.001 at (-7.2888;6.9400)
-- (1.5d).
select count(*) as n_tokens
from box_search(-7.2888, 6.9400, 0.0010);
