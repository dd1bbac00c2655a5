-- Notebook 1.5c, Cluster Logit Equivalence: which tokens get one and the same bf16
-- logit when the hidden state points at the middle of 1.4a's cluster? In the DuckDB
-- shell on a catalog, from this project's folder:
-- .read queries/notebooks/1.5c_logit_equivalence.sql
-- Reads the references 1.4a and 1.5c, the centroid of 1.4a:cosine-mode. One table for
-- each thing that the notebook prints; dot products are the correctly rounded ones.

-- W: its shape, and how it is stored.
select
    model,
    n_tokens,
    n_dims,
    dtype
from models
where model_in_view(model)
order by model;

-- The cosine-based cluster (1.4a).
with classes as (
    select
        model,
        value as shared_cosine
    from mode_classes
    where reference = reference_named('1.4a') and metric = 'cosine'
)

select
    k.model,
    count(*) as n_tokens,
    any_value(k.shared_cosine) as shared_cosine,
    list(c.token_id order by c.token_id)[:10] as first_10_token_ids
from classes as k
inner join cluster_members as c
    on k.model = c.model and c.cluster = '1.4a:cosine-mode'
group by k.model
order by k.model;

-- Its centroid, rounded to bf16 as the hidden state is.
select
    model,
    len(vector) as n_dims,
    bf16(norm) as centroid_norm
from reference_vectors
where reference = reference_named('1.5c')
order by model;

-- The norms of its tokens, in bf16.
select
    model,
    min(norm_bf16) as min_norm,
    max(norm_bf16) as max_norm,
    bf16(avg(norm_bf16)) as mean_norm
from members('1.4a:cosine-mode')
group by model
order by model;

-- The distribution of dot products; the mean is rounded to bf16, the median is torch's
-- (the lower of the two in the middle).
select
    model,
    min(dot_bf16) as min_dot,
    max(dot_bf16) as max_dot,
    bf16(avg(dot_bf16)) as mean_dot,
    quantile_disc(dot_bf16, 0.5) as median_dot
from scores
where reference = '1.5c'
group by model
order by model;

-- The mode: the logit equivalence class is all tokens with this dot product.
select
    model,
    value as mode_dot,
    n_tokens as mode_tokens,
    round(100 * share, 2) as percent_of_vocabulary
from mode_classes
where reference = '1.5c' and metric = 'dot'
order by model;

-- Its first token IDs.
select
    model,
    list(token_id order by token_id)[:20] as first_20_token_ids
from cluster_members
where cluster = '1.5c:dot-mode'
group by model
order by model;

-- For comparison: the largest dot product, and how many tokens have it.
select
    model,
    dot_bf16 as max_dot,
    n_tokens as max_tokens
from dot_classes
where reference = '1.5c'
qualify row_number() over (partition by model order by dot_bf16 desc) = 1
order by model;

-- The overlap of the two clusters.
select
    model,
    count(*) filter (where side <> 'second only') as n_cosine,
    count(*) filter (where side <> 'first only') as n_logit,
    count(*) filter (where side = 'both') as n_both,
    count(*) filter (where side = 'first only') as n_cosine_only,
    count(*) filter (where side = 'second only') as n_logit_only,
    round(100 * n_both / n_cosine, 1) as percent_of_cosine,
    round(100 * n_both / n_logit, 1) as percent_of_logit
from overlap('1.4a:cosine-mode', '1.5c:dot-mode')
group by model
order by model;

-- Duplicates in the class: distinct embeddings, and tokens for each on average.
select
    model,
    n_tokens,
    n_vectors as unique_embeddings,
    n_tokens - n_vectors as n_sharing,
    round(n_tokens / n_vectors, 1) as average_degeneracy
from dot_classes
where reference = '1.5c' and class_rank = 1
order by model;

-- Distinct dot products, and that number as a share of the vocabulary.
select
    m.model,
    m.n_values as n_distinct_dots,
    round(100 * m.n_values / o.n_tokens, 2) as percent_of_vocabulary
from mode_classes as m
inner join models as o on m.model = o.model
where m.reference = '1.5c' and m.metric = 'dot'
order by m.model;

-- The ten most common.
select
    model,
    class_rank,
    dot_bf16,
    n_tokens
from dot_classes
where reference = '1.5c' and class_rank <= 10
order by model, class_rank;

-- The class's tokens, with their text, and as the tokenizer spells them: some have no
-- text by themselves.
select
    model,
    token_id,
    text,
    piece,
    kind
from members('1.5c:dot-mode')
order by model, token_id;
