select list(bits_l1 order by bits_l1) as bits_l1
from group_pairs()
where bits_linf = 1;
