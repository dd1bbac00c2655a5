with parts as (
    select unnest(vector) as part
    from duplicate_vectors
    where group_rank = 1
)

select min(ulp_at(part)) as ulp_min
from parts;
