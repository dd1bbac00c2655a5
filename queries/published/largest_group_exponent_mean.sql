with exponents as (
    select unnest(exponents_of(vector)) as exponent
    from duplicate_vectors
    where group_rank = 1
)

select avg(exponent) as exponent_mean
from exponents;
