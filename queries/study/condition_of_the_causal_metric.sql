-- How ill-conditioned is the causal metric, the inverse of the covariance?
-- Asked by 01.1b_causal_metric_tensor (box 1): the extreme eigenvalues of
-- (C + 1e-6 I)⁻¹, C with n - 1 below, and their quotient.
with covariance as (
    select 1e-6 + p.eigenvalue * m.n_tokens / (m.n_tokens - 1) as eigenvalue
    from principal_components as p
    inner join models as m on p.model = m.model
)

select
    round(1 / min(eigenvalue), 4) as largest,
    round(1 / max(eigenvalue), 4) as smallest,
    round(max(eigenvalue) / min(eigenvalue), 2) as condition_number
from covariance;
