with thresholds as (
    select unnest([1, 2, 3, 4, 5, 6, 7, 8, 16, 64, 127]) as most_ulps
),

counts as (
    select
        t.most_ulps,
        count(*) as n_components
    from thresholds as t
    inner join neighborhood_linkage(5) as l
        on coalesce(t.most_ulps < l.own_ulps, true)
    group by t.most_ulps
)

select list(n_components order by most_ulps) as n_components
from counts;
