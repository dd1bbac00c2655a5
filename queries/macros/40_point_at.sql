-- point_at: every token against any vector h, computed here from `vectors`.
-- Grain: one row per token of each model in view whose rows are as long as h.
-- h16 = bf16(h), r16 = bf16(h / length of h), as for a stored reference; sums are in
-- DOUBLE. A row that isn't finite has NULL scores; one of length 0, a NULL cosine.
create macro point_at(h) as table
with pointing as materialized (
    select
        bf16_list(h) as h16,
        bf16_list(
            list_transform(h::double[], lambda number: number / length_of(h))
        ) as r16
),

rounded as (
    select
        v.model,
        v.token_id,
        p.h16,
        p.r16,
        bf16_row(
            v.vector, (select m.dtype from models as m where m.model = v.model)
        ) as w16
    from vectors as v
    cross join pointing as p
    where len(v.vector) = len(p.h16)
),

scored as (
    select
        model,
        token_id,
        finite_or_null(list_inner_product(w16, h16)) as dot,
        finite_or_null(
            list_inner_product(w16, h16)
            / nullif(length_of(w16) * length_of(h16), 0)
        ) as cosine,
        finite_or_null(
            list_inner_product(
                bf16_unit_row(w16, bf16(nullif(length_of(w16), 0)))::double[], r16
            )
        ) as cosine_of_rounded
    from rounded
)

select
    s.model,
    s.token_id,
    t.text,
    s.dot,
    s.cosine,
    bf16(s.dot) as dot_bf16,
    bf16(s.cosine_of_rounded) as cosine_bf16
from scored as s
inner join tokens as t on s.model = t.model and s.token_id = t.token_id;

comment on macro table point_at is
'dot, cosine and their bf16 of every token against a vector h: from point_at([0.1, …])';
