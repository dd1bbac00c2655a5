with bits as (
    select
        unnest(bits_of(vector)) as pattern,
        generate_subscripts(vector, 1) - 1 as dim
    from duplicate_vectors
),

varying as (
    select dim
    from bits
    group by dim
    having count(distinct pattern) > 1
)

select list(dim order by dim) as dims
from varying;
