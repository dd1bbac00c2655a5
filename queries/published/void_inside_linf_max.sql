-- In each dimension, the largest difference of two of the rows is its extent.
with duplicates as (
    select list(token_id) as ids
    from features
    where duplicate_count > 1
),

centre as materialized (
    select mean_of((from duplicates)) as vector
),

parts as (
    select
        unnest(v.vector)::double as part,
        generate_subscripts(v.vector, 1) as dim
    from distances_to((from centre)) as d
    inner join vectors as v on d.model = v.model and d.token_id = v.token_id
    where d.distance < 0.01214174
),

extents as (
    select max(part) - min(part) as extent
    from parts
    group by dim
)

select max(extent) as linf_max
from extents;
