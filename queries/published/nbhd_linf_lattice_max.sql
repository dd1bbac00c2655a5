select max(own_ulps)::double as own_ulps
from neighborhood_pairs(5);
