with pairs as (
    select
        k.own_ulps,
        count(p.token_id) as n_pairs
    from range(1, 6) as k (own_ulps)
    left join neighborhood_pairs(5) as p on k.own_ulps = p.own_ulps
    group by k.own_ulps
)

select list(n_pairs order by own_ulps) as n_pairs
from pairs;
