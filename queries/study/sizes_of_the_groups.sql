-- How unequal are the groups of equal rows?
-- Asked by 12.2e_qwen_comprehensive_statistics (box 1): their sizes, and the Gini
-- coefficient of these: 0 where all are of one size, near 1 where one has nearly all.
with ranked as (
    select
        n_tokens,
        row_number() over (order by n_tokens) as place
    from duplicate_groups
)

select
    count(*) as n_groups,
    sum(n_tokens)::integer as n_in_groups,
    list(n_tokens order by n_tokens desc) as sizes,
    round(2 * sum(place * n_tokens) / (count(*) * sum(n_tokens)) - 1 - 1 / count(*), 4)
        as gini
from ranked;
