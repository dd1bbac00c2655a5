with bits as (
    select
        unnest(bits_of(vector)) as pattern,
        generate_subscripts(vector, 1) - 1 as dim
    from duplicate_vectors
),

varying as (
    select count(distinct pattern) as n_patterns
    from bits
    group by dim
    having count(distinct pattern) > 1
),

counts as (
    select
        n_patterns,
        count(*) as n_dims
    from varying
    group by n_patterns
)

select string_agg(n_patterns || ':' || n_dims, ' ' order by n_patterns) as patterns
from counts;
