with duplicates as (
    select list(token_id) as ids
    from features
    where duplicate_count > 1
),

centre as materialized (
    select mean_of((from duplicates)) as vector
)

select list_distance(c.vector::double[], r.vector::double[]) as centred_norm
from centre as c
cross join reference_vectors as r
where r.reference = 'mean';
