with unbiased as (
    select count(norm) / (count(norm) - 1) as factor
    from features
)

select [min(d.std * d.std * u.factor), max(d.std * d.std * u.factor)] as variances
from dimensions as d
cross join unbiased as u;
