select avg(euclidean) as l2_mean
from group_pairs();
