with singles as (
    select c.token_id
    from cluster_members as c
    inner join features as f on c.model = f.model and c.token_id = f.token_id
    where
        c.cluster = 'largest-component'
        and f.duplicate_count = 1
        and c.token_id <> 83971
)

select [min(l1), avg(l1), quantile_disc(l1, 0.5), max(l1)] as l1
from pairs_within('largest-component')
where
    token_id in (from singles)
    and other_token_id in (from singles);
