with away as (
    select
        list_transform(
            list_zip(v.vector, r.vector), lambda pair: abs(pair[1]::double - pair[2])
        ) as numbers
    from vectors as v
    inner join reference_vectors as r on v.model = r.model and r.reference = 'mean'
),

largest as materialized (
    select list_max(numbers) as max_abs
    from away
),

percentiles as (
    select quantile_cont(max_abs, 0.01) as percentile
    from largest
)

select count(*) as n_tokens
from largest as l
inner join percentiles as p on l.max_abs < p.percentile;
