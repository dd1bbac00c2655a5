with thresholds as (
    select unnest([1, 2, 3, 4, 5, 6, 7, 8, 16, 64, 127]) as most_ulps
),

counts as (
    select
        t.most_ulps,
        count(p.token_id) as n_edges
    from thresholds as t
    left join neighborhood_pairs(5) as p
        on p.own_ulps >= 1 and t.most_ulps >= p.own_ulps
    group by t.most_ulps
)

select list(n_edges order by most_ulps) as n_edges
from counts;
