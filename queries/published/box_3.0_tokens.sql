-- box_3.0_tokens: tokens in the window of diameter 3.0 at (-7.289;6.940) (Azimuth II
-- 1.6a (box 3)).
select count(*) as n_tokens
from box_search(-7.289, 6.940, 3.0);
