-- lat_std: standard deviation of latitude (Azimuth II 1.3a).
select stddev_samp(lat) as lat_std
from features;
