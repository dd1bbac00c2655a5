-- How far apart are the "black holes", the rows of the duplicate groups?
-- Asked by 06.1i_black_hole_constellation (box 1): Euclidean, over all pairs.
with sites as materialized (
    select v.vector::double[] as numbers
    from vectors as v
    inner join duplicate_groups as g on v.token_id = g.duplicate_of
),

apart as (
    select list_distance(a.numbers, b.numbers) as distance
    from sites as a
    inner join sites as b on a.numbers < b.numbers
)

select
    format('{:.6e}', min(distance)) as least,
    format('{:.6e}', avg(distance)) as mean,
    format('{:.6e}', max(distance)) as most
from apart;
