with exponents as (
    select unnest(exponents_of(vector)) as exponent
    from duplicate_vectors
    where group_rank = 1
),

counts as (
    select
        exponent,
        count(*) as n_dims
    from exponents
    group by exponent
)

select string_agg(exponent || ':' || n_dims, ' ' order by exponent) as exponents
from counts;
