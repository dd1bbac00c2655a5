with halo as (
    select list(t.token_id) as ids
    from tokens as t
    anti join cluster_members as c
        on
            t.model = c.model
            and t.token_id = c.token_id
            and c.cluster = 'largest-component'
    where not t.roundtrips
),

centre as materialized (
    select mean_of((from halo)) as vector
)

select list_distance(c.vector::double[], r.vector::double[]) as centroid_offset
from centre as c
cross join reference_vectors as r
where r.reference = '1.6a';
