-- All pairs of different rows, by differences in DOUBLE: minutes, on the whole matrix.
with spike as (
    select
        f.model,
        f.duplicate_of,
        count(*) as n_tokens
    from recipe_clusters as c
    inner join features as f on c.model = f.model and c.token_id = f.token_id
    where c.cluster = 'spike'
    group by f.model, f.duplicate_of
),

different as materialized (
    select
        s.n_tokens,
        v.token_id,
        v.vector::double[] as numbers
    from spike as s
    inner join vectors as v on s.model = v.model and s.duplicate_of = v.token_id
),

nearest as (
    select
        coalesce(a.token_id, b.token_id) as token_id,
        min(list_distance(a.numbers, b.numbers)) as distance
    from different as a
    inner join different as b on a.token_id < b.token_id
    group by grouping sets ((a.token_id), (b.token_id))
),

each_token as (
    select
        if(d.n_tokens > 1, 0, min(n.distance)) as distance,
        unnest(range(d.n_tokens)) as place
    from different as d
    inner join nearest as n on d.token_id = n.token_id
    group by d.token_id, d.n_tokens
)

select [avg(distance), quantile_disc(distance, 0.5), max(distance)] as distances
from each_token;
