select max(euclidean) as l2_max
from group_pairs();
