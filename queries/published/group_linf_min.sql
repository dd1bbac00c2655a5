select min(linf) as linf_min
from group_pairs();
