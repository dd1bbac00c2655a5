select stddev_samp(lat) as lat_std
from features;
