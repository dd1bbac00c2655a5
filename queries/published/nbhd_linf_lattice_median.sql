select quantile_disc(own_ulps, 0.5)::double as own_ulps
from neighborhood_pairs(5);
