-- Notebook 1.4h, Extract Cluster Tokens: the giant connected component among the tokens
-- of the spike. In the DuckDB shell on a catalog, from this project's folder:
-- .read queries/notebooks/1.4h_extract_cluster_tokens.sql
-- Reads the recipe's cluster spike, and components at models.linkage_threshold, which
-- are those of the whole vocabulary: the notebook's, unless a token outside the spike
-- bridges two inside. One table for each thing that the notebook prints.

-- The graph: an edge joins two tokens of the spike that are nearer than the threshold.
-- n_straddling is how many of its tokens are in components that reach out of it; where
-- there are any, n_edges is NULL: features counts a token's neighbours in all of W.
with spike as (
    select
        model,
        component_size,
        n_neighbors,
        count(*) over (partition by model, component) as n_inside
    from members('spike')
    where component is not null
)

select
    s.model,
    count(*) as n_nodes,
    count(*) filter (where s.n_inside < s.component_size) as n_straddling,
    case when n_straddling = 0 then sum(s.n_neighbors) // 2 end::bigint as n_edges,
    any_value(o.linkage_threshold) as adjacency_threshold
from spike as s
inner join models as o on s.model = o.model
group by s.model
order by s.model;

-- Its connected components.
with sizes as (
    select
        model,
        component,
        count(*) as n_tokens
    from members('spike')
    where component is not null
    group by model, component
)

select
    model,
    count(*) as n_components,
    max(n_tokens) as largest_component,
    count(*) filter (where n_tokens = 1) as singletons
from sizes
group by model
order by model;

-- How many components there are of each size.
with sizes as (
    select
        model,
        component,
        count(*) as n_tokens
    from members('spike')
    where component is not null
    group by model, component
)

select
    model,
    n_tokens,
    count(*) as n_components
from sizes
group by model, n_tokens
order by model asc, n_tokens desc;

-- The giant cluster.
with sizes as (
    select
        model,
        component,
        count(*) as n_tokens,
        min(token_id) as min_token_id,
        max(token_id) as max_token_id,
        list(token_id order by token_id)[:20] as first_20_token_ids
    from members('spike')
    where component is not null
    group by model, component
)

select
    model,
    component as giant_cluster_id,
    n_tokens,
    min_token_id,
    max_token_id,
    first_20_token_ids
from sizes
qualify
    row_number() over (partition by model order by n_tokens desc, component asc) = 1
order by model;

-- Its tokens, with their text, and as the tokenizer spells them: some have no
-- text by themselves.
with inside as (
    select
        model,
        token_id,
        text,
        piece,
        kind,
        component,
        count(*) over (partition by model, component) as n_tokens
    from members('spike')
    where component is not null
)

select
    model,
    token_id,
    text,
    piece,
    kind
from inside
qualify
    rank() over (partition by model order by n_tokens desc, component asc) = 1
order by model, token_id;
