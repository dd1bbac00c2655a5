-- norm_max: largest norm (Azimuth II 1.2a).
select max(norm) as norm_max
from features;
