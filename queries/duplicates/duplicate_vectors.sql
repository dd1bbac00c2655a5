-- duplicate_vectors: the vectors that two tokens or more share, in a fixed order: those
-- of most tokens first, and of as many, that with the lowest token_id.
-- Grain: one row per duplicate group of a model whose rows are in `vectors`.
create view duplicate_vectors as
with ranked as (
    select
        model,
        duplicate_of as token_id,
        n_tokens,
        row_number() over (
            partition by model order by n_tokens desc, duplicate_of asc
        )::integer as group_rank
    from duplicate_groups
)

select
    r.model,
    r.group_rank,
    r.token_id,
    r.n_tokens,
    v.vector
from ranked as r
inner join vectors as v on r.model = v.model and r.token_id = v.token_id
order by r.model, r.group_rank;

comment on view duplicate_vectors is
'One row per vector that two tokens or more share, that of the most tokens first.';
comment on column duplicate_vectors.model is 'the catalogued matrix';
comment on column duplicate_vectors.group_rank is
'1 is the largest group, the one of most tokens; of groups as large, the lowest first';
comment on column duplicate_vectors.token_id is 'lowest token_id with the vector';
comment on column duplicate_vectors.n_tokens is 'how many tokens share it';
comment on column duplicate_vectors.vector is 'the stored values';
