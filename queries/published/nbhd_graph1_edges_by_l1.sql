with edges as (
    select
        bits_l1,
        count(*) as n_edges
    from neighborhood_pairs(5)
    where own_ulps = 1
    group by bits_l1
)

select string_agg(bits_l1 || ':' || n_edges, ' ' order by bits_l1) as n_edges
from edges;
