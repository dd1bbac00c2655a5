-- The variance of some numbers is half the mean square of the differences of pairs.
with singles as (
    select c.token_id
    from cluster_members as c
    inner join features as f on c.model = f.model and c.token_id = f.token_id
    where
        c.cluster = 'largest-component'
        and f.duplicate_count = 1
        and c.token_id <> 83971
)

select avg(euclidean * euclidean) / 2 as total_variance
from pairs_within('largest-component')
where
    token_id in (from singles)
    and other_token_id in (from singles);
