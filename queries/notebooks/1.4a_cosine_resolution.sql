-- Notebook 1.4a, Cluster Membership by Cosine Resolution: which tokens can bf16
-- cosines to one direction not tell apart? In the DuckDB shell on a catalog, from this
-- project's folder: .read queries/notebooks/1.4a_cosine_resolution.sql
-- Reads the reference 1.4a, a place on the sky. One table for each thing that the
-- notebook prints; cosines are the correctly rounded ones.

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

-- The reference direction: its place on the sky, and on the unit sphere of its axes.
with places as (
    select
        model,
        reference,
        (recipe ->> '$.sky.lat')::double as lat,
        (recipe ->> '$.sky.lon')::double as lon,
        vector
    from reference_vectors
    where reference = reference_named('1.4a')
)

select
    model,
    reference,
    lat,
    lon,
    cos(radians(lat)) * cos(radians(lon)) as x,
    cos(radians(lat)) * sin(radians(lon)) as y,
    sin(radians(lat)) as z,
    sqrt(list_inner_product(vector::double[], vector::double[])) as norm
from places
order by model;

-- The cosine distribution; the mean is rounded to bf16, the median is torch's (the
-- lower of the two in the middle).
select
    model,
    min(cosine_bf16) as min_cosine,
    max(cosine_bf16) as max_cosine,
    bf16(avg(cosine_bf16)) as mean_cosine,
    quantile_disc(cosine_bf16, 0.5) as median_cosine
from scores
where reference = '1.4a'
group by model
order by model;

-- The mode: the cluster is all tokens with this cosine.
select
    model,
    value as mode_cosine,
    n_tokens as mode_tokens,
    round(100 * share, 2) as percent_of_vocabulary
from mode_classes
where reference = '1.4a' and metric = 'cosine'
order by model;

-- Its first token IDs.
select
    model,
    list(token_id order by token_id)[:20] as first_20_token_ids
from cluster_members
where cluster = '1.4a:cosine-mode'
group by model
order by model;

-- For comparison: the largest cosine, and how many tokens have it.
select
    model,
    cosine_bf16 as max_cosine,
    n_tokens as max_tokens
from cosine_classes
where reference = '1.4a'
qualify row_number() over (partition by model order by cosine_bf16 desc) = 1
order by model;

-- Distinct cosines.
select
    model,
    n_values as n_distinct_cosines
from mode_classes
where reference = '1.4a' and metric = 'cosine'
order by model;

-- The ten most common.
select
    model,
    class_rank,
    cosine_bf16,
    n_tokens
from cosine_classes
where reference = '1.4a' and class_rank <= 10
order by model, class_rank;

-- The cluster's tokens, with their text, and as the tokenizer spells them: some have no
-- text by themselves.
select
    model,
    token_id,
    text,
    piece,
    kind
from members('1.4a:cosine-mode')
order by model, token_id;
