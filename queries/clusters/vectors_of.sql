-- vectors_of: the rows of W of some tokens, a list of {model, token_id}.
-- Grain: one row per entry of the list that has a row in `vectors`.
-- Out of a list, DuckDB takes the tokens for few, and skips the row groups that have
-- none of them; joined with what clusters are made of, it would hold all of `vectors`.
-- noqa: disable=LT02
create macro vectors_of(listed_tokens) as table
with listed as materialized (
    select unnest(listed_tokens) as token
)

select
    v.model,
    v.token_id,
    v.vector
from listed
inner join vectors as v
    on listed.token.model = v.model and listed.token.token_id = v.token_id;

comment on macro table vectors_of is
'the rows of W of a list of {model, token_id}: the quick way to read a few of them, as in
from vectors_of((select list({model: model, token_id: token_id}) from members(''spike'')))';
