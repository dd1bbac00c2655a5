-- norm_mean: mean L2 norm of the rows in fp32 (Azimuth II 1.2a).
select avg(norm) as norm_mean
from features;
