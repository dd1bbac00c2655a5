-- cosine_classes: tokens that bf16 can't tell apart by their direction (notebook 1.4a).
-- Grain: one row per model, reference and bf16 cosine that a token has.
create view cosine_classes as
select
    model,
    reference,
    value as cosine_bf16,
    n_tokens,
    n_vectors,
    share,
    class_rank
from bf16_classes
where metric = 'cosine'
order by model, reference, class_rank;

comment on view cosine_classes is
'One row per bf16 cosine that tokens have to a reference, the mode first: bf16
can''t tell the directions of its tokens apart.';
comment on column cosine_classes.model is 'the catalogued matrix';
comment on column cosine_classes.reference is 'the reference vector''s name';
comment on column cosine_classes.cosine_bf16 is
'the value: scores.cosine_bf16';
comment on column cosine_classes.n_tokens is 'tokens with it';
comment on column cosine_classes.n_vectors is 'different rows of W among them';
comment on column cosine_classes.share is 'n_tokens / models.n_tokens';
comment on column cosine_classes.class_rank is
'1 is the mode, the class of most tokens; of classes as large, the smaller value first';
