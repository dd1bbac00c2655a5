-- box_0.2_tokens: tokens in the window of diameter 0.2 at (-7.289;6.940) (Azimuth II
-- 1.3c).
select count(*) as n_tokens
from box_search(-7.289, 6.940, 0.2);
