select list(n_tokens order by n_vectors desc, n_tokens asc, n_edges asc) as n_tokens
from neighborhood_components(5)
where n_vectors > 1;
