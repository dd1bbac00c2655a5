-- pairs_within: how far a cluster's different vectors are apart, each pair of them.
-- Grain: one row per model in view and pair, each vector by its lowest token in the
-- cluster, the lower of the two first; rows that aren't finite don't count. An error
-- past 5,000 different vectors.
-- Of the values as stored, in DOUBLE: euclidean and l1 within (n_dims + 8) * 2^-53 of
-- the exact ones, relatively; linf correctly rounded; cosine within
-- (n_dims + 8) * 2^-52.
-- Each is computed only where it is asked for: at 2,560 dimensions, euclidean and
-- cosine take some 3 microseconds a pair, linf and l1 some 20.
-- noqa: disable=LT02
create macro pairs_within(cluster_name) as table
select
    model,
    token_id,
    other_token_id,
    text,
    other_text,
    list_distance(own_numbers, other_numbers) as euclidean,
    cosine_of_pair(own_numbers, own_norm, other_numbers, other_norm) as cosine,
    list_max(differences_between(own_numbers, other_numbers)) as linf,
    list_sum(differences_between(own_numbers, other_numbers)) as l1
from vector_pairs(cluster_name, 5000);

comment on macro table pairs_within is
'each pair of a cluster''s different vectors, by their lowest tokens: Euclidean distance,
cosine, largest (linf) and summed (l1) difference, of the values as stored; up to 5,000
vectors. Ask for the columns you need: each is computed only then, linf and l1 slowly (from
Python, Model.pairs_within has all four in seconds)';
