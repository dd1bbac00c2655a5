with ends as (
    select
        unnest([token_id, other_token_id]) as token_id,
        steps
    from core_pairs()
),

degrees as (
    select count(*) filter (where steps = 1) as degree
    from ends
    group by token_id
),

counts as (
    select
        degree,
        count(*) as n_rows
    from degrees
    group by degree
)

select string_agg(degree || ':' || n_rows, ' ' order by degree) as degrees
from counts;
