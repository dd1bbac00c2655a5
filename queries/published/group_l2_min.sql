select min(euclidean) as l2_min
from group_pairs();
