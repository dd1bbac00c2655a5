-- members: a cluster's tokens, with what is known of each.
-- Grain: one row per token in it, in each model in view that has a cluster of the name.
-- noqa: disable=LT02
create macro members(cluster_name) as table
with asked as materialized (
    select cluster_named(cluster_name) as asked_for
)

select
    c.model,
    c.cluster,
    c.token_id,
    t.text,
    t.piece,
    t.kind,
    f.norm,
    f.norm_bf16,
    f.x,
    f.y,
    f.z,
    f.radius,
    f.lat,
    f.lon,
    f.duplicate_of,
    f.duplicate_count,
    f.component,
    f.component_size,
    f.n_neighbors,
    f.nn_distance,
    f.nn_token_id
from cluster_members as c
inner join asked as a on c.cluster = a.asked_for
inner join features as f on c.model = f.model and c.token_id = f.token_id
inner join tokens as t on c.model = t.model and c.token_id = t.token_id
order by c.model, c.token_id;

comment on macro table members is
'a cluster''s tokens with text and features; from clusters lists the names';
