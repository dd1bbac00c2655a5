select count(*) as n_pairs
from group_pairs()
where bits_linf = 1;
