-- By the squared distances of n rows alone: with total, their sum from a row to all,
-- tr C = Σ total / 2n(n-1); tr C² = Σ (doubly centred square)² / 4(n-1)².
with singles as (
    select c.token_id
    from cluster_members as c
    inner join features as f on c.model = f.model and c.token_id = f.token_id
    where
        c.cluster = 'largest-component'
        and f.duplicate_count = 1
        and c.token_id <> 83971
),

pairs as (
    select
        unnest([token_id, other_token_id]) as token_id,
        euclidean * euclidean as square
    from pairs_within('largest-component')
    where
        token_id in (from singles)
        and other_token_id in (from singles)
),

from_each as (
    select
        sum(square) as total,
        sum(square * square) as squares
    from pairs
    group by token_id
)

select
    pow(sum(total), 2) / (
        pow(count(*), 2) * sum(squares)
        - 2 * count(*) * sum(total * total)
        + pow(sum(total), 2)
    ) as participation_ratio
from from_each;
