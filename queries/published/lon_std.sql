-- lon_std: standard deviation of longitude (Azimuth II 1.3a).
select stddev_samp(lon) as lon_std
from features;
