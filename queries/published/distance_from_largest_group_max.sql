with largest as materialized (
    select v.vector
    from features as f
    inner join vectors as v on f.model = v.model and f.token_id = v.token_id
    where f.token_id = f.duplicate_of
    order by f.duplicate_count desc, f.token_id asc
    limit 1
)

select max(distance) as distance_max
from distances_to((from largest));
