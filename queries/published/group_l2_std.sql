select stddev_samp(euclidean) as l2_std
from group_pairs();
