-- lattice_neighbors: which different vectors of a cluster are within some lattice steps
-- of each other in every dimension, up to 5,000 vectors.
-- Grain: one row per pair of vectors, each known by its lowest token_id in the cluster,
-- token_id < other_token_id, in each model in view that has a cluster of the name.
-- noqa: disable=LT02
create macro lattice_neighbors(cluster_name, most_steps) as table
select
    p.model,
    p.token_id,
    p.other_token_id,
    t.text,
    o.text as other_text,
    p.linf,
    p.l1
from lattice_pairs(cluster_name, most_steps, 5000) as p
inner join tokens as t on p.model = t.model and p.token_id = t.token_id
inner join tokens as o on p.model = o.model and p.other_token_id = o.token_id;

comment on macro table lattice_neighbors is
'the pairs of a cluster''s different vectors, by lowest token_ids, that are at most so many
lattice steps apart in every dimension: linf and l1 in steps; an error past 5,000 vectors';
