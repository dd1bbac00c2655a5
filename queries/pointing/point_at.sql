-- point_at: every token against any vector h: see point_at_each.
-- Grain: one row per token of each model in view whose rows are as long as h.
-- noqa: disable=LT02
create macro point_at(h) as table
select
    model,
    token_id,
    text,
    dot,
    dot_bf16,
    cosine,
    cosine_bf16
from point_at_each([struct_pack(model := null::varchar, numbers := h::double[])]);

comment on macro table point_at is
'dot, cosine and their bf16 of every token against a vector h: from point_at([0.1, …]);
sums are in DOUBLE, each result rounded once';
