-- nearest: the k nearest different vectors to the row of a token.
-- Grain: one row per vector, shown by its lowest token_id; k for each model in view.
-- distance is Euclidean, of the stored values, by differences in DOUBLE.
-- noqa: disable=LT02
create macro nearest(token, k) as table
with own as materialized (
    select
        model,
        token_id,
        vector::double[] as numbers
    from vectors
    where token_id = token
),

apart as not materialized (
    select
        v.model,
        v.token_id,
        list_distance(v.vector::double[], o.numbers) as distance
    from vectors as v
    inner join own as o on v.model = o.model
),

shown as not materialized (
    select
        a.model,
        a.token_id,
        a.distance,
        f.duplicate_count,
        row_number() over (
            partition by a.model order by a.distance, a.token_id
        ) as place
    from apart as a
    inner join features as f
        on
            a.model = f.model
            and a.token_id = f.token_id
            and a.token_id = f.duplicate_of
    inner join own as o on a.model = o.model
    inner join features as mine
        on
            o.model = mine.model
            and o.token_id = mine.token_id
            and a.token_id <> mine.duplicate_of
)

select
    s.model,
    s.token_id,
    t.text,
    s.distance,
    s.duplicate_count
from shown as s
inner join tokens as t on s.model = t.model and s.token_id = t.token_id
where s.place <= k
order by s.model, s.place;

comment on macro table nearest is
'the k nearest different vectors to a token''s, nearest first, each by its lowest token_id';
