select list(bits_linf order by other_rank) as bits_linf
from group_pairs()
where group_rank = 1;
