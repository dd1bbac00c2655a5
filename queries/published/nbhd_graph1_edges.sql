select count(*) as n_edges
from neighborhood_pairs(5)
where own_ulps = 1;
