select stddev_samp(lon) as lon_std
from features;
