-- How long are the rows of W, from their mean?
-- Asked by 01.2a_basic_geometric_properties (box 1).
select
    round(avg(centred_norm), 6) as mean,
    round(stddev_samp(centred_norm), 6) as std,
    round(min(centred_norm), 6) as least,
    round(quantile_disc(centred_norm, 0.5), 6) as median,
    round(max(centred_norm), 6) as most
from features;
