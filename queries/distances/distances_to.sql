-- distances_to: how far every token is from any vector h, computed from `vectors`.
-- Grain: one row per token of each model in view whose rows are as long as h.
-- Euclidean, of the values as stored and of h as it is given (in DOUBLE: nothing is
-- rounded to bf16), by differences, whose squares are summed in DOUBLE: within
-- (n_dims + 8) * 2^-54 of the exact distance, relatively. NULL where the row isn't
-- finite.
-- Every step must stay inlined, and above no filter or join of the rows: see
-- point_at_each.
-- noqa: disable=LT02
create macro distances_to(h) as table
with given as materialized (
    select vector_in_view(h) as numbers
),

measured as not materialized (
    select
        v.model,
        v.token_id,
        len(g.numbers) as n_numbers,
        case
            when len(v.vector) = len(g.numbers)
                then list_distance(v.vector::double[], g.numbers)
        end as distance
    from vectors as v
    cross join given as g
)

select
    d.model,
    d.token_id,
    t.text,
    -- Here, where it is a column: above, it would be computed twice.
    finite_or_null(d.distance) as distance
from measured as d
inner join tokens as t on d.model = t.model and d.token_id = t.token_id
inner join models as m on d.model = m.model and d.n_numbers = m.n_dims;

comment on macro table distances_to is
'the Euclidean distance of every token''s row, as stored, from a vector h:
from distances_to([0.1, …]); scores.distance has it for a reference';
