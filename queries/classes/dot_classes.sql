-- dot_classes: tokens that bf16 can't tell apart by their logit (notebook 1.5c).
-- Grain: one row per model, reference and bf16 dot product that a token has.
-- Equal rows have equal scores, so the first of them stands for them all.
create view dot_classes as
with classes as (
    select
        s.model,
        s.reference,
        s.dot_bf16,
        count(*) as n_tokens,
        count(*) filter (where f.token_id = f.duplicate_of) as n_vectors
    from scores as s
    inner join features as f on s.model = f.model and s.token_id = f.token_id
    where s.dot_bf16 is not null
    group by s.model, s.reference, s.dot_bf16
)

select
    c.model,
    c.reference,
    c.dot_bf16,
    c.n_tokens::integer as n_tokens,
    c.n_vectors::integer as n_vectors,
    c.n_tokens / m.n_tokens as share,
    row_number() over (
        partition by c.model, c.reference order by c.n_tokens desc, c.dot_bf16 asc
    )::integer as class_rank
from classes as c
inner join models as m on c.model = m.model
order by c.model, c.reference, class_rank;

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
