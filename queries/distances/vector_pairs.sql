-- vector_pairs: the pairs of a cluster's different vectors, with their rows.
-- Grain: one row per model in view and pair, each vector by its lowest token in the
-- cluster, the lower of the two first; rows that aren't finite don't count. An error
-- past most_vectors different ones, where that isn't NULL.
-- What reads this must compute from the rows at once, in one select: the vectors are
-- held once, and pairs refer to them, until a join or a filter copies both. So the
-- pairing is no condition that a hash join (or one by order) could take.
-- noqa: disable=LT02
create macro vector_pairs(cluster_name, most_vectors) as table
with numbered as materialized (
    select
        model,
        token_id,
        text,
        numbers,
        norm
    from different_vectors(cluster_name, most_vectors)
)

select
    own.model,
    own.token_id,
    other.token_id as other_token_id,
    own.text,
    other.text as other_text,
    own.numbers as own_numbers,
    own.norm as own_norm,
    other.numbers as other_numbers,
    other.norm as other_norm
from numbered as own
inner join numbered as other
    on coalesce(own.model = other.model and own.token_id < other.token_id, false);

comment on macro table vector_pairs is
'the pairs of a cluster''s different vectors, with their rows: what pairs_within and
pair_histogram measure';
