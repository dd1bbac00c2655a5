-- How are the exponents of the frozen cluster's centre distributed?
-- Asked by qwen3/coarsening_hypothesis/01_john_exponents (box 4): of the row that the
-- largest group of equal rows shares, how many dimensions there are at each exponent
-- field E, and what the last bit of a value is worth there.
with largest_group as (
    select unnest(exponents_of(vector)) as exponent
    from vectors
    where token_id = (
        select arg_max(duplicate_of, (n_tokens, -duplicate_of)) from duplicate_groups
    )
)

select
    exponent,
    count(*) as n_dims,
    pow(2, greatest(exponent, 1) - 134.0) as ulp
from largest_group
group by exponent
order by exponent;
