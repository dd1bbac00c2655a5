with unbiased as (
    select count(norm) / (count(norm) - 1) as factor
    from features
)

select
    (max(p.eigenvalue * u.factor) + 1e-6) / (min(p.eigenvalue * u.factor) + 1e-6)
        as condition_number
from principal_components as p
cross join unbiased as u;
