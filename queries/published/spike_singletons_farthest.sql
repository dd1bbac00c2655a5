with component as materialized (
    select v.vector::double[] as numbers
    from components as c
    inner join features as f on c.model = f.model and c.component = f.component
    inner join vectors as v on f.model = v.model and f.token_id = v.token_id
    where c.component_rank = 1 and f.token_id = f.duplicate_of
),

others as materialized (
    select
        f.token_id,
        v.vector::double[] as numbers
    from recipe_clusters as s
    inner join features as f on s.model = f.model and s.token_id = f.token_id
    inner join components as c
        on f.model = c.model and c.component_rank = 1 and f.component <> c.component
    inner join vectors as v on f.model = v.model and f.token_id = v.token_id
    where s.cluster = 'spike'
),

nearest as (
    select min(list_distance(o.numbers, c.numbers)) as distance
    from others as o
    cross join component as c
    group by o.token_id
)

select max(distance) as farthest
from nearest;
