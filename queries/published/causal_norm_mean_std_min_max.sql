-- Norms under the inverse covariance take as long as the covariance itself: they are
-- there where the recipe asked for them at the ingest.
select
    case
        when count(causal_norm) > 0
            then
                [
                    avg(causal_norm), stddev_samp(causal_norm),
                    min(causal_norm), max(causal_norm)
                ]
        else error('no causal norms: the recipe must have [causal] epsilon = 1e-6')
    end as causal_norms
from features;
