-- A token on an edge is in the shell below it.
with duplicates as (
    select list(token_id) as ids
    from features
    where duplicate_count > 1
),

centre as materialized (
    select mean_of((from duplicates)) as vector
),

shells as (
    select
        count(*) filter (where distance <= 1e-4) as to_1e4,
        count(*) filter (where distance <= 1e-3) as to_1e3,
        count(*) filter (where distance <= 1e-2) as to_1e2,
        count(*) filter (where distance <= 0.1) as to_1e1
    from distances_to((from centre))
    where distance > 1e-5
)

select [to_1e4, to_1e3 - to_1e4, to_1e2 - to_1e3, to_1e1 - to_1e2] as shell_tokens
from shells;
