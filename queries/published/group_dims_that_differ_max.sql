select max(n_different) as n_different
from group_pairs();
