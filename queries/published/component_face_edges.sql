select count(*) as n_edges
from core_pairs()
where steps = 1;
