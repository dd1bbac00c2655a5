select max(linf) as linf_max
from group_pairs();
