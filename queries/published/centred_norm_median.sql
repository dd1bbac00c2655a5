select quantile_disc(centred_norm, 0.5) as centred_norm_median
from features;
