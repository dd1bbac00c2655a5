-- point_at_token: every token against the row of one token: see point_at_each.
-- Grain: one row per token of each model in view that has this token_id.
-- noqa: disable=LT02,RF03
create macro point_at_token(token) as table
select
    model,
    token_id,
    text,
    dot,
    dot_bf16,
    cosine,
    cosine_bf16
from point_at_each((
    select list(struct_pack(model := v.model, numbers := v.vector))
    from vectors as v
    where v.token_id = token
));

comment on macro table point_at_token is
'dot, cosine and their bf16 of every token against the row of this token_id';
