with exponents as (
    select unnest(exponents_of(vector)) as exponent
    from duplicate_vectors
    where group_rank = 1
)

select stddev_pop(exponent) as exponent_std
from exponents;
