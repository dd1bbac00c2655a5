-- In how many dimensions does the component spread, and how unevenly?
-- Asked by 06.1s_singularity_dimensionality (box 1), of the duplicate groups and what
-- lies around them: the participation ratio (Σλ)² / Σλ² of the covariance of the
-- different rows, and the share of the largest eigenvalue. They are stored first, by
-- `token-catalog spectrum MODEL --cluster largest-component --weighting vectors`.
select
    s.n_vectors,
    s.rank,
    round(s.participation_ratio, 4) as participation_ratio,
    format('{:.6e}', s.total_variance) as total_variance,
    round(c.variance_share, 4) as share_of_largest
from spectra as s
inner join spectrum_components as c
    on s.model = c.model and s.cluster = c.cluster and s.weighting = c.weighting
where s.cluster = 'largest-component' and s.weighting = 'vectors' and c.pc = 1;
