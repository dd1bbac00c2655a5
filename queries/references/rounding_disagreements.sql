-- rounding_disagreements: how often a device's own bf16 result isn't the nearest one.
-- Grain: one row per model, reference and metric.
create view rounding_disagreements as
with both_metrics as (
    select
        model,
        reference,
        count(*) filter (where dot_native is distinct from dot_bf16) as n_dot,
        count(*) filter (where cosine_native is distinct from cosine_bf16) as n_cosine
    from scores
    group by model, reference
)

select
    model,
    reference,
    'dot' as metric,
    n_dot::integer as n_tokens
from both_metrics
union all
select
    model,
    reference,
    'cosine' as metric,
    n_cosine::integer as n_tokens
from both_metrics
order by model asc, reference asc, metric desc;

comment on view rounding_disagreements is
'One row per reference and metric: how many tokens got another bf16 from torch''s own
product on reference_vectors.device than the correctly rounded one.';
comment on column rounding_disagreements.model is 'the catalogued matrix';
comment on column rounding_disagreements.reference is 'the reference vector''s name';
comment on column rounding_disagreements.metric is 'dot or cosine';
comment on column rounding_disagreements.n_tokens is
'tokens whose dot_native (cosine_native) isn''t their dot_bf16 (cosine_bf16)';
