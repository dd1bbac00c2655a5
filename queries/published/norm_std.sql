select stddev_samp(norm) as norm_std
from features;
