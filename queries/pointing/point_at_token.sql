-- point_at_token: every token against the row of one token.
-- Grain: one row per token of each model in view that has this token_id.
-- The same steps as point_at, but for one h a model.
-- noqa: disable=LT02
create macro point_at_token(token) as table
with given as not materialized (
    select
        model,
        vector::double[] as numbers,
        length_of(vector) as h_norm
    from vectors
    where token_id = token
),

pointing as not materialized (
    select
        model,
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
        bf16_row(v.vector, dtype_of(v.model)) as w16
    from vectors as v
    inner join pointing as p on v.model = p.model
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
inner join tokens as t on s.model = t.model and s.token_id = t.token_id;

comment on macro table point_at_token is
'dot, cosine and their bf16 of every token against the row of this token_id';
