with duplicates as (
    select list(token_id) as ids
    from features
    where duplicate_count > 1
),

centre as materialized (
    select mean_of((from duplicates)) as vector
)

select distance as radius
from distances_to((from centre))
order by distance
limit 1 offset 9999;
