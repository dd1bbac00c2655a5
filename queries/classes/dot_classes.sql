-- dot_classes: tokens that bf16 can't tell apart by their logit (notebook 1.5c).
-- Grain: one row per model, reference and bf16 dot product that a token has.
create view dot_classes as
select
    model,
    reference,
    value as dot_bf16,
    n_tokens,
    n_vectors,
    share,
    class_rank
from bf16_classes
where metric = 'dot'
order by model, reference, class_rank;

comment on view dot_classes is
'One row per bf16 dot product that tokens have with a reference, the mode first: bf16
can''t tell the logits of its tokens apart.';
comment on column dot_classes.model is 'the catalogued matrix';
comment on column dot_classes.reference is 'the reference vector''s name';
comment on column dot_classes.dot_bf16 is
'the value: the bf16 nearest to the exact dot product';
comment on column dot_classes.n_tokens is 'tokens with it';
comment on column dot_classes.n_vectors is 'different rows of W among them';
comment on column dot_classes.share is 'n_tokens / models.n_tokens';
comment on column dot_classes.class_rank is
'1 is the mode, the class of most tokens; of classes as large, the smaller value first';
