-- norm_median: median norm (quantile_disc 0.5: torch takes the lower middle) (Azimuth
-- II 06.1c).
select quantile_disc(norm, 0.5) as norm_median
from features;
