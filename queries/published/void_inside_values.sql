with duplicates as (
    select list(token_id) as ids
    from features
    where duplicate_count > 1
),

centre as materialized (
    select mean_of((from duplicates)) as vector
),

parts as (
    select unnest(v.vector) as part
    from distances_to((from centre)) as d
    inner join vectors as v on d.model = v.model and d.token_id = v.token_id
    where d.distance < 0.01214174
)

select count(distinct part) as n_values
from parts;
