-- bf16_classes: tokens that bf16 can't tell apart, by logit or by direction (notebooks
-- 1.4a and 1.5c): what dot_classes, cosine_classes, mode_classes and degeneracy select.
-- Grain: one row per model, reference, metric and bf16 value that a token has.
-- Equal rows have equal scores, so the first of them stands for them all.
create view bf16_classes as
with scored as (
    select
        model,
        reference,
        'dot' as metric,
        token_id,
        dot_bf16 as value
    from scores
    union all
    select
        model,
        reference,
        'cosine' as metric,
        token_id,
        cosine_bf16 as value
    from scores
),

classes as (
    select
        s.model,
        s.reference,
        s.metric,
        s.value,
        count(*) as n_tokens,
        count(*) filter (where f.token_id = f.duplicate_of) as n_vectors
    from scored as s
    inner join features as f on s.model = f.model and s.token_id = f.token_id
    where s.value is not null
    group by s.model, s.reference, s.metric, s.value
)

select
    c.model,
    c.reference,
    c.metric,
    c.value,
    c.n_tokens::integer as n_tokens,
    c.n_vectors::integer as n_vectors,
    c.n_tokens / m.n_tokens as share,
    row_number() over (
        partition by c.model, c.reference, c.metric
        order by c.n_tokens desc, c.value asc
    )::integer as class_rank
from classes as c
inner join models as m on c.model = m.model;

comment on view bf16_classes is
'One row per reference, metric and bf16 value that tokens have: bf16 can''t tell them
apart. dot_classes and cosine_classes have them in order.';
comment on column bf16_classes.model is 'the catalogued matrix';
comment on column bf16_classes.reference is 'the reference vector''s name';
comment on column bf16_classes.metric is 'dot or cosine';
comment on column bf16_classes.value is
'the value: scores.dot_bf16 (cosine_bf16)';
comment on column bf16_classes.n_tokens is 'tokens with it';
comment on column bf16_classes.n_vectors is 'different rows of W among them';
comment on column bf16_classes.share is 'n_tokens / models.n_tokens';
comment on column bf16_classes.class_rank is
'1 is the mode, the class of most tokens; of classes as large, the smaller value first';
