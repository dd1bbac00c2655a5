-- box_0.1_tokens: tokens in the window of diameter 0.1 at (-7.283405;6.936738) (Azimuth
-- II 1.4c).
select count(*) as n_tokens
from box_search(-7.283405, 6.936738, 0.1);
