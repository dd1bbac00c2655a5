-- token_keys: what a token of one model is matched by in another, whatever its id.
-- Grain: one row per token of the model; of one that isn't in view, none.
-- A key is (key_kind, begins_word, key_bytes):
-- - text (normal, byte, fragment, impossible, added): begins_word, whether its bytes
--   begin with a space, and the bytes after that space. WordPiece keeps no space:
--   there, a piece without ## begins a word (punctuation, too), and one with it
--   doesn't. So ' cat' of GPT-2, '▁cat' of SentencePiece and 'cat' of BERT are one key;
--   'cat' of the first two and '##cat' of the last another.
-- - special, unused: their bytes as they are, among tokens of the same kind.
-- - missing (no entry in the tokenizer): the token_id, for there is nothing else.
-- Where n_same > 1, several tokens of the model have the key. key_place tells them
-- apart: SentencePiece's <0x41>, which stands in where there is no piece, comes after
-- 'A'; one that round-trips before one that doesn't; then by token_id.
-- noqa: disable=LT02
create macro token_keys(model_key) as table
with own as materialized (
    select
        token_id,
        piece,
        bytes,
        text,
        kind,
        roundtrips,
        kind not in ('special', 'unused', 'missing') as is_text,
        coalesce(
            regexp_full_match(piece, '<0x[0-9A-Fa-f]{2}>') and octet_length(bytes) = 1,
            false
        ) as stands_in
    from read_parquet(files_of_model(model_key, 'tokens'), hive_partitioning = false)
    where model = model_key
),

-- WordPiece is told by its pieces: some have a ## that isn't in the text.
spelling as materialized (
    select
        coalesce(
            bool_or(
                is_text and starts_with(piece, '##') and '##' || text = piece
            ), false
        ) as is_word_piece
    from own
),

spelt as (
    select
        o.token_id,
        o.text,
        o.kind,
        o.roundtrips,
        o.bytes,
        o.is_text,
        o.stands_in,
        o.is_text and bytes[1:1] = ' '::blob as has_space,
        case
            when not o.is_text then false
            when s.is_word_piece and o.kind <> 'added'
                then not coalesce('##' || o.text = o.piece, false)
            else bytes[1:1] = ' '::blob
        end as begins_word
    from own as o
    cross join spelling as s
),

keyed as (
    select
        token_id,
        text,
        kind,
        roundtrips,
        stands_in,
        case when is_text then 'text' else kind end as key_kind,
        begins_word,
        case
            when kind = 'missing' then encode(token_id::varchar)
            when has_space then bytes[2:]
            else bytes
        end as key_bytes
    from spelt
)

select
    token_id,
    text,
    kind,
    key_kind,
    begins_word,
    key_bytes,
    count(*) over (partition by key_kind, begins_word, key_bytes) as n_same,
    row_number() over (
        partition by key_kind, begins_word, key_bytes
        order by stands_in asc, coalesce(roundtrips, false) desc, token_id asc
    ) as key_place
from keyed;

comment on macro table token_keys is
'what the tokens of one model are matched by in another: (key_kind, begins_word,
key_bytes), and key_place among the n_same that have the same';
