with largest as (
    select vector
    from duplicate_vectors
    where group_rank = 1
)

select count(*) as n_tokens
from distances_to((from largest))
where distance >= 0.005 and distance < 0.05;
