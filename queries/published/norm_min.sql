-- norm_min: smallest norm (Azimuth II 1.2a).
select min(norm) as norm_min
from features;
