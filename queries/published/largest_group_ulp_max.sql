with parts as (
    select unnest(vector) as part
    from duplicate_vectors
    where group_rank = 1
)

select max(ulp_at(part)) as ulp_max
from parts;
