select avg(linf) as linf_mean
from group_pairs();
