-- Notebook 1.6a, Cluster-Centric Reference Frame: the principal components of W, and
-- the middle of the largest component. In the DuckDB shell on a catalog, from this
-- project's folder: .read queries/notebooks/1.6a_cluster_reference_frame.sql
-- Reads the reference 1.6a, the centroid of largest-component. One table for each thing
-- that the notebook prints.

-- W: its shape, and how it is stored.
select
    model,
    n_tokens,
    n_dims,
    dtype
from models
where model_in_view(model)
order by model;

-- The ten largest eigenvalues, with their shares of the variance.
select
    model,
    pc,
    eigenvalue,
    round(100 * variance_share, 2) as percent_of_variance,
    round(
        100 * sum(variance_share) over (partition by model order by pc), 2
    ) as cumulative_percent
from principal_components
qualify pc <= 10
order by model, pc;

-- The variance in the first 10 and the first 100 components.
select
    model,
    round(100 * sum(variance_share) filter (where pc <= 10), 2) as percent_in_first_10,
    round(100 * sum(variance_share) filter (where pc <= 100), 2) as percent_in_first_100
from principal_components
group by model
order by model;

-- The cluster's centroid: its shape, its norm, and its first components.
with centroids as (
    select
        model,
        vector
    from reference_vectors
    where reference = reference_named('1.6a')
),

sizes as (
    select
        model,
        count(*) as n_tokens
    from cluster_members
    where cluster = 'largest-component'
    group by model
)

select
    c.model,
    s.n_tokens,
    len(c.vector) as n_dims,
    sqrt(list_inner_product(c.vector::double[], c.vector::double[])) as norm,
    c.vector[:10] as first_10_components
from centroids as c
inner join sizes as s on c.model = s.model
order by c.model;

-- The cluster's tokens, with their text, and as the tokenizer spells them: some have no
-- text by themselves.
select
    model,
    token_id,
    text,
    piece,
    kind
from members('largest-component')
order by model, token_id;
