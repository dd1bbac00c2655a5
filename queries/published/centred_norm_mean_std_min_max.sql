select
    [
        avg(centred_norm),
        stddev_samp(centred_norm),
        min(centred_norm),
        max(centred_norm)
    ] as centred_norms
from features;
