with bits as (
    select
        unnest(bits_of(vector)) as pattern,
        generate_subscripts(vector, 1) as dim
    from neighborhood_vectors(0)
),

dims as (
    select count(distinct pattern) as n_patterns
    from bits
    group by dim
)

select count(*) as n_dims
from dims
where n_patterns > 1;
