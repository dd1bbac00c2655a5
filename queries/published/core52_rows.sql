select count(*) as n_rows
from neighborhood_vectors(0);
