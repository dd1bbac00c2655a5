-- same_dot_as: which tokens bf16 can't tell from this one, seen from it (1.5d).
-- Grain: one row per token t with bf16(t . h) = bf16(h . h), h the row of `token`, in
-- each model in view; the token itself is among them.
-- noqa: disable=LT02
create macro same_dot_as(token) as table
with asked as materialized (
    select token as own_token_id
),

pointed as materialized (
    select
        model,
        token_id,
        text,
        dot,
        dot_bf16
    from point_at_token((select own_token_id from asked))
)

select
    p.model,
    p.token_id,
    p.text,
    p.dot,
    p.dot_bf16
from pointed as p
inner join pointed as own
    on p.model = own.model and p.dot_bf16 = own.dot_bf16
inner join asked as a
    on own.token_id = a.own_token_id;

comment on macro table same_dot_as is
'the tokens t with bf16(t . h) = bf16(h . h), where h is the row of this token_id';
