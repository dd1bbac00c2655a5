-- Few pairs are within 0.2 in their first 256 dimensions: only those are measured.
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
        v.vector[:256]::double[] as first_numbers,
        v.vector::double[] as numbers
    from spike as s
    inner join vectors as v on s.model = v.model and s.duplicate_of = v.token_id
),

pairs as (
    select
        [a.token_id, b.token_id] as token_ids,
        case
            when list_distance(a.first_numbers, b.first_numbers) < 0.2
                then list_distance(a.numbers, b.numbers)
        end as distance
    from different as a
    inner join different as b on a.token_id < b.token_id
),

near as (
    select
        unnest(token_ids) as token_id,
        distance
    from pairs
    where distance < 0.2
    union all
    select
        token_id,
        0 as distance
    from different
    where n_tokens > 1
),

nearest as (
    select
        d.n_tokens,
        min(n.distance) as distance
    from different as d
    inner join near as n on d.token_id = n.token_id
    group by d.token_id, d.n_tokens
)

select
    [
        sum(n_tokens) filter (where distance < 0.05),
        sum(n_tokens) filter (where distance < 0.1),
        sum(n_tokens) filter (where distance < 0.15),
        sum(n_tokens)
    ]::bigint[] as n_tokens
from nearest;
