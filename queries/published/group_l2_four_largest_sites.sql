select list(euclidean order by group_rank, other_rank) as l2
from group_pairs()
where group_rank in (1, 2, 3, 5) and other_rank in (1, 2, 3, 5);
