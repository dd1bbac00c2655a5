with duplicates as (
    select list(token_id) as ids
    from features
    where duplicate_count > 1
),

centre as materialized (
    select mean_of((from duplicates)) as vector
),

parts as (
    select
        unnest(v.vector) as part,
        generate_subscripts(v.vector, 1) as dim
    from distances_to((from centre)) as d
    inner join features as f on d.model = f.model and d.token_id = f.token_id
    inner join vectors as v on d.model = v.model and d.token_id = v.token_id
    where d.distance < 0.01214174 and f.token_id = f.duplicate_of
),

counted as (
    select count(distinct part) as n_values
    from parts
    group by dim
)

select [min(n_values), max(n_values)] as patterns
from counted;
