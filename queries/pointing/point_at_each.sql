-- point_at_each: every token against a vector h, computed here from `vectors`.
-- query_vectors is a list of structs {model, numbers}: an h for the tokens of that
-- model, or, where model is NULL, for those of every model in view.
-- Grain: one row per h and token of its model, where its rows are as long as h.
-- h16 = bf16(h) and r16 = bf16(h / length of h), as for a stored reference; rows are
-- rounded to bf16 too; sums are in DOUBLE, and rounded once. That is the bf16 nearest
-- to the exact value but where DOUBLE can't tell on which side of the middle between
-- two bf16 it lies: within d * 2^-53 of it, relative to the sum of |terms|. A row
-- that isn't finite has NULL scores; one of length 0, a NULL cosine.
-- Every step must stay inlined (a materialized one would hold all of W) and above no
-- filter or join of the rows (each copies every vector): so a row that isn't h's gets
-- no width or no w16 first, and is dropped by the last join.
-- noqa: disable=LT02
create macro point_at_each(query_vectors) as table
with asked as not materialized (
    select unnest(query_vectors) as query_vector
),

given as not materialized (
    select
        query_vector.model as of_model,
        query_vector.numbers::double[] as numbers,
        length_of(query_vector.numbers) as h_norm
    from asked
),

pointing as not materialized (
    select
        of_model,
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
        case when coalesce(p.of_model = v.model, true) then len(p.h16) end as width,
        case
            when len(v.vector) = width then bf16_row(v.vector, dtype_of(v.model))
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
        width,
        w16,
        length_of(w16) as w16_norm,
        bf16(length_of(w16)) as w16_norm_bf16
    from rounded
),

scored as not materialized (
    select
        model,
        token_id,
        width,
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

comment on macro table point_at_each is
'as point_at, of a list of {model, numbers}: each model''s tokens against its own vector, or
where model is NULL, against one for all';
