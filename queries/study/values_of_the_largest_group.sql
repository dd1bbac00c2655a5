-- What values does the frozen cluster's centre have, and does it look like noise?
-- Asked by 06.1c_initialization_check (box 1): extremes, mean and standard deviation of
-- the row that the largest group of equal rows shares.
with largest_group as (
    select unnest(vector)::double as number
    from vectors
    where token_id = (
        select arg_max(duplicate_of, (n_tokens, -duplicate_of)) from duplicate_groups
    )
)

select
    min(number) as least,
    max(number) as most,
    round(avg(number), 6) as mean,
    round(stddev_pop(number), 6) as std
from largest_group;
