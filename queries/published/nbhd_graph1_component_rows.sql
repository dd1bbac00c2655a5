select list(n_vectors order by n_vectors desc, n_tokens asc, n_edges asc) as n_vectors
from neighborhood_components(5)
where n_vectors > 1;
