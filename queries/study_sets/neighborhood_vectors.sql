-- neighborhood_vectors: the different rows of the tokens whose exponent fields differ
-- by at most so many, in every dimension, from those of the largest duplicate group's
-- row: box 4 of the study calls that the exponent neighbourhood, with 5; with 0, its
-- core of 52 rows.
-- Grain: one row per vector, known by its lowest token_id.
-- noqa: disable=LT02
create macro neighborhood_vectors(most_apart) as table
with near as materialized (
    select
        e.model,
        e.token_id,
        f.duplicate_count as n_tokens,
        e.exponent_distance
    from exponent_neighborhood(largest_group_token(), most_apart) as e
    inner join features as f
        on e.model = f.model and e.token_id = f.token_id and e.token_id = f.duplicate_of
)

select
    n.model,
    n.token_id,
    n.n_tokens,
    n.exponent_distance,
    list_distance(v.vector::double[], o.vector::double[]) as distance,
    v.vector
from near as n
inner join vectors as v on n.model = v.model and n.token_id = v.token_id
inner join duplicate_vectors as o on n.model = o.model and o.group_rank = 1
order by n.model, n.token_id;

comment on macro table neighborhood_vectors is
'the different rows whose bfloat16 exponents are within so many of the largest duplicate
group''s in every dimension: tokens that have it, Euclidean distance from that group''s';
