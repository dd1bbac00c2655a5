select max(bits_linf) as bits_linf
from group_pairs();
