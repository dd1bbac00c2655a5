with duplicates as (
    select list(token_id) as ids
    from features
    where duplicate_count > 1
),

centre as materialized (
    select mean_of((from duplicates)) as vector
)

select count(distinct f.duplicate_of) as n_rows
from distances_to((from centre)) as d
inner join features as f on d.model = f.model and d.token_id = f.token_id
where d.distance < 0.01214174;
