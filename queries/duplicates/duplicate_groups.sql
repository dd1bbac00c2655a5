-- duplicate_groups: rows of W with equal vectors.
-- Grain: one row per model and vector that two tokens or more share.
create view duplicate_groups as
select
    model,
    duplicate_of,
    count(*)::integer as n_tokens,
    list(token_id order by token_id) as token_ids
from features
where duplicate_count > 1
group by model, duplicate_of;

comment on view duplicate_groups is
'One row per vector that two tokens or more share.';
comment on column duplicate_groups.model is 'the catalogued matrix';
comment on column duplicate_groups.duplicate_of is 'lowest token_id with the vector';
comment on column duplicate_groups.n_tokens is 'how many tokens share it';
comment on column duplicate_groups.token_ids is 'all of them, ascending';
