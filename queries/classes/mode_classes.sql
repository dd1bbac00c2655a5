-- mode_classes: the class of most tokens (notebooks 1.4a and 1.5c).
-- Grain: one row per model, reference and metric.
create view mode_classes as
select
    model,
    reference,
    metric,
    arg_min(value, class_rank) as value,
    arg_min(n_tokens, class_rank) as n_tokens,
    arg_min(share, class_rank) as share,
    count(*)::integer as n_values
from bf16_classes
group by model, reference, metric
order by model asc, reference asc, metric desc;

comment on view mode_classes is
'One row per reference and metric: the bf16 value that most tokens have, and how many
values there are.';
comment on column mode_classes.model is 'the catalogued matrix';
comment on column mode_classes.reference is 'the reference vector''s name';
comment on column mode_classes.metric is 'dot or cosine';
comment on column mode_classes.value is
'the most frequent value; of several, the smallest';
comment on column mode_classes.n_tokens is 'tokens with it';
comment on column mode_classes.share is 'n_tokens / models.n_tokens';
comment on column mode_classes.n_values is 'different values that tokens have';
