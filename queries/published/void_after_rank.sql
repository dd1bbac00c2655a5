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
        row_number() over (order by distance) as place,
        lead(distance) over (order by distance) - distance as gap
    from distances_to((from centre))
)

select place as void_after_rank
from ranked
where place < 10000
order by gap desc, place asc
limit 1;
