-- Notebook 1.5d, Cluster Members by Dot Product: which tokens t have t·h = h·h in bf16,
-- for a token h of the cluster? In the DuckDB shell on a catalog, from this project's
-- folder: .read queries/notebooks/1.5d_cluster_members_by_dot_product.sql
-- Reads the reference 1.5d, the first token in a window of the sky. One table for each
-- thing that the notebook prints; dot products are the correctly rounded ones.

-- W: its shape, and how it is stored, and the components that span the sky.
select
    model,
    n_tokens,
    n_dims,
    north_pc,
    meridian_pc,
    equinox_pc,
    dtype
from models
where model_in_view(model)
order by model;

-- The window, the tokens in it, and the first of them: h.
with windows as (
    select
        model,
        token_id as ref_token_id,
        (recipe ->> '$.first_in_box.lat')::double as center_lat,
        (recipe ->> '$.first_in_box.lon')::double as center_lon,
        (recipe ->> '$.first_in_box.diameter')::double as angular_diameter,
        angular_diameter / 2 as half_width
    from reference_vectors
    where reference = reference_named('1.5d')
)

select
    w.model,
    w.center_lat,
    w.center_lon,
    w.angular_diameter,
    count(f.token_id) as n_tokens,
    w.ref_token_id
from windows as w
left join features as f
    on
        w.model = f.model
        and f.lat between w.center_lat - w.half_width and w.center_lat + w.half_width
        and f.lon between w.center_lon - w.half_width and w.center_lon + w.half_width
group by
    w.model, w.center_lat, w.center_lon, w.angular_diameter, w.ref_token_id
order by w.model;

-- h·h, and the tokens with the same dot product.
select
    r.model,
    r.self_dot_bf16 as h_dot_h,
    count(*) as n_cluster,
    round(100 * count(*) / any_value(o.n_tokens), 3) as percent_of_vocabulary,
    list(c.token_id order by c.token_id)[:10] as first_10_token_ids
from reference_vectors as r
inner join models as o on r.model = o.model
inner join cluster_members as c on r.model = c.model and c.cluster = '1.5d:dot-self'
where r.reference = '1.5d'
group by r.model, r.self_dot_bf16
order by r.model;

-- The cluster's tokens, with their text, and as the tokenizer spells them: some have no
-- text by themselves.
select
    model,
    token_id,
    text,
    piece,
    kind
from members('1.5d:dot-self')
order by model, token_id;
