select list(n_edges order by n_vectors desc, n_tokens asc, n_edges asc) as n_edges
from neighborhood_components(5)
where n_vectors > 1;
