select quantile_disc(norm, 0.5) as norm_median
from features;
