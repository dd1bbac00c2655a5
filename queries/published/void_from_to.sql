with duplicates as (
    select list(token_id) as ids
    from features
    where duplicate_count > 1
),

centre as materialized (
    select mean_of((from duplicates)) as vector
),

ranked as (
    select
        distance,
        row_number() over (order by distance) as place,
        lead(distance) over (order by distance) as next_distance
    from distances_to((from centre))
)

select [distance, next_distance] as void_from_to
from ranked
where place < 10000
order by next_distance - distance desc, place asc
limit 1;
