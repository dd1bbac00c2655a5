with unbiased as (
    select count(norm) / (count(norm) - 1) as factor
    from features
)

select
    [
        1 / (min(p.eigenvalue * u.factor) + 1e-6),
        1 / (max(p.eigenvalue * u.factor) + 1e-6)
    ] as eigenvalues
from principal_components as p
cross join unbiased as u;
