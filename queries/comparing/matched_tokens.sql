-- matched_tokens: the tokens of two models, side by side where they have the same key
-- (see token_keys).
-- Grain: every token of either is in one row. Of several with one key, the first of
-- one goes with the first of the other, by key_place, and so on; all are marked. What
-- is left over stands alone.
-- noqa: disable=LT02
create macro matched_tokens(model_a, model_b) as table
with asked as materialized (
    select
        compared_model(model_a) is not null
        and compared_model(model_b) is not null as are_there
),

paired as (
    select
        a.token_id as token_a,
        b.token_id as token_b,
        coalesce(a.text, b.text) as text,
        coalesce(a.begins_word, b.begins_word) as begins_word,
        a.kind as kind_a,
        b.kind as kind_b,
        case
            when b.token_id is null then 'only_a'
            when a.token_id is null then 'only_b'
            else 'both'
        end as match,
        coalesce(a.n_same > 1, false) or coalesce(b.n_same > 1, false) as ambiguous
    from token_keys(model_a) as a
    full join token_keys(model_b) as b
        on
            a.key_kind = b.key_kind
            and a.begins_word = b.begins_word
            and a.key_bytes = b.key_bytes
            and a.key_place = b.key_place
)

select
    p.token_a,
    p.token_b,
    p.text,
    p.match,
    p.ambiguous,
    p.begins_word,
    p.kind_a,
    p.kind_b
from paired as p
-- Also what refuses models that aren't there.
inner join asked as q on q.are_there;

comment on macro table matched_tokens is
'the tokens of two models, matched by their bytes and whether they begin a word; each
token of either in one row, match both, only_a or only_b; ambiguous where several tokens
of one have the same bytes';
