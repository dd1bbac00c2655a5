with largest as (
    select vector
    from duplicate_vectors
    where group_rank = 1
)

select list(token_id order by distance, token_id)[:20] as first_20
from distances_to((from largest))
where distance >= 0.005 and distance < 0.05;
