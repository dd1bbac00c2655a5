with counts as materialized (
    select
        exponent_distance,
        count(*) as n_tokens
    from exponent_neighborhood(largest_group_token(), 20)
    group by exponent_distance
),

within as (
    select
        k.most_apart,
        sum(c.n_tokens)::bigint as n_tokens
    from range(21) as k (most_apart)
    inner join counts as c on k.most_apart >= c.exponent_distance
    group by k.most_apart
)

select list(n_tokens order by most_apart) as n_tokens
from within;
