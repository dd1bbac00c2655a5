-- norm_std: standard deviation of the norms (Azimuth II 1.2a).
select stddev_samp(norm) as norm_std
from features;
