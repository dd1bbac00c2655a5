with sizes as (
    select
        n_tokens,
        row_number() over (order by n_tokens) as place
    from duplicate_groups
)

select
    2 * sum(place * n_tokens) / (count(*) * sum(n_tokens))
    - (count(*) + 1) / count(*) as gini
from sizes;
