-- degeneracy: how many tokens share their value with how many others.
-- Grain: one row per model, reference, metric and size of a class.
create view degeneracy as
select
    model,
    reference,
    metric,
    n_tokens as class_size,
    count(*)::integer as n_values,
    (count(*) * n_tokens)::integer as n_tokens
from bf16_classes
group by model, reference, metric, class_size
order by model asc, reference asc, metric desc, class_size desc;

comment on view degeneracy is
'One row per reference, metric and size of a class: how many bf16 values as many tokens
share, the largest class first.';
comment on column degeneracy.model is 'the catalogued matrix';
comment on column degeneracy.reference is 'the reference vector''s name';
comment on column degeneracy.metric is 'dot or cosine';
comment on column degeneracy.class_size is
'tokens that share a value (1 where it is one token''s own)';
comment on column degeneracy.n_values is
'how many values are shared by class_size tokens each';
comment on column degeneracy.n_tokens is
'tokens in those classes: class_size * n_values';
