-- 207,519,378 pairs by differences in DOUBLE: minutes, on the whole matrix. The median
-- is one of as many FLOATs, which take half the memory.
with spike as materialized (
    select
        c.token_id,
        v.vector::double[] as numbers
    from recipe_clusters as c
    inner join vectors as v on c.model = v.model and c.token_id = v.token_id
    where c.cluster = 'spike'
),

pairs as (
    select list_distance(a.numbers, b.numbers) as distance
    from spike as a
    inner join spike as b on a.token_id < b.token_id
)

select
    [
        quantile_disc(distance::float, 0.5)::double, avg(distance), max(distance)
    ] as distances
from pairs;
