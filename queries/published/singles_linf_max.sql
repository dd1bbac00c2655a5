-- In each dimension, the largest difference of two of the rows is its extent.
with parts as (
    select
        unnest(v.vector)::double as part,
        generate_subscripts(v.vector, 1) as dim
    from cluster_members as c
    inner join features as f on c.model = f.model and c.token_id = f.token_id
    inner join vectors as v on c.model = v.model and c.token_id = v.token_id
    where
        c.cluster = 'largest-component'
        and f.duplicate_count = 1
        and c.token_id <> 83971
),

extents as (
    select max(part) - min(part) as extent
    from parts
    group by dim
)

select max(extent) as linf_max
from extents;
