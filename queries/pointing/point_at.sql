-- point_at: every token against any vector h, computed here from `vectors`.
-- Grain: one row per token of each model in view whose rows are as long as h.
-- h16 = bf16(h) and r16 = bf16(h / length of h), as for a stored reference; rows are
-- rounded to bf16 too; sums are in DOUBLE, and rounded once. That is the bf16 nearest
-- to the exact value but where DOUBLE can't tell on which side of the middle between
-- two bf16 it lies: within d * 2^-53 of it, relative to the sum of |terms|. A row
-- that isn't finite has NULL scores; one of length 0, a NULL cosine.
-- Every step must stay inlined (a materialized one would hold all of W) and above no
-- filter or join of the rows (each copies every vector): so rows of another length
-- get a NULL row first, and are dropped by the last join.
-- noqa: disable=LT02
create macro point_at(h) as table
with asked as not materialized (
    select h::double[] as numbers
),

given as not materialized (
    select
        numbers,
        length_of(numbers) as h_norm
    from asked
),

pointing as not materialized (
    select
        bf16_list(numbers) as h16,
        case
            when h_norm > 0
                then bf16_list(list_transform(numbers, lambda number: number / h_norm))
        end as r16
    from given
),

rounded as not materialized (
    select
        v.model,
        v.token_id,
        p.h16,
        p.r16,
        case
            when len(v.vector) = len(p.h16)
                then bf16_row(v.vector, dtype_of(v.model))
        end as w16
    from vectors as v
    cross join pointing as p
),

normed as not materialized (
    select
        model,
        token_id,
        h16,
        r16,
        w16,
        length_of(w16) as w16_norm,
        bf16(length_of(w16)) as w16_norm_bf16
    from rounded
),

scored as not materialized (
    select
        model,
        token_id,
        len(h16) as width,
        dot_of(w16, h16) as dot,
        dot_of(w16, h16) / nullif(w16_norm * length_of(h16), 0) as cosine,
        dot_of(bf16_unit_row(w16, w16_norm_bf16), r16) as cosine_of_rounded
    from normed
)

select
    s.model,
    s.token_id,
    t.text,
    s.dot,
    bf16(s.dot) as dot_bf16,
    case when abs(s.cosine) > 1 then sign(s.cosine) else s.cosine end as cosine,
    bf16(s.cosine_of_rounded) as cosine_bf16
from scored as s
inner join tokens as t on s.model = t.model and s.token_id = t.token_id
inner join models as m on s.model = m.model and s.width = m.n_dims;

comment on macro table point_at is
'dot, cosine and their bf16 of every token against a vector h: from point_at([0.1, …]);
sums are in DOUBLE, each result rounded once';
