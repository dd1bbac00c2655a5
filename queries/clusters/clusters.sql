-- clusters: every set of tokens that has a name.
-- Grain: one row per model and cluster of one token or more.
create view clusters as
with sized as (
    select
        c.model,
        c.cluster,
        c.kind,
        count(*)::integer as n_tokens,
        count(distinct f.duplicate_of)::integer as n_vectors,
        min(f.duplicate_of) as first_row
    from cluster_members as c
    inner join features as f on c.model = f.model and c.token_id = f.token_id
    group by c.model, c.cluster, c.kind
),

by_reference as (
    select
        model,
        name_of_cluster(metric || '-mode', reference) as cluster,
        metric || '_bf16 = ' || value || ', the most frequent, from ' || reference
            as definition
    from mode_classes
    union all
    select
        model,
        name_of_cluster('dot-self', reference) as cluster,
        'dot_bf16 = ' || self_dot_bf16 || ', as ' || reference || ' has with itself'
            as definition
    from reference_vectors
),

by_recipe as (
    select
        model,
        cluster,
        any_value(definition) as definition
    from recipe_clusters
    group by model, cluster
)

select
    s.model,
    s.cluster,
    s.kind,
    case s.kind
        when 'recipe' then q.definition
        when 'duplicate' then 'rows equal to row ' || s.first_row
        when 'component' then 'chained by distances < ' || o.linkage_threshold
        when 'largest-component' then 'chained by distances < ' || o.linkage_threshold
        else r.definition
    end as definition,
    s.n_tokens,
    s.n_vectors
from sized as s
inner join models as o on s.model = o.model
left join by_reference as r on s.model = r.model and s.cluster = r.cluster
left join by_recipe as q on s.model = q.model and s.cluster = q.cluster
order by s.model asc, s.n_tokens desc, s.cluster asc;

comment on view clusters is
'One row per cluster, the largest first: what bf16 can''t tell apart from a reference
(REF:cosine-mode, REF:dot-mode, REF:dot-self), components, equal rows, and the recipe''s.';
comment on column clusters.model is 'the catalogued matrix';
comment on column clusters.cluster is
'the name: for members(…), overlap(…, …), centroid_of(…) and a recipe''s centroid';
comment on column clusters.kind is 'its kind: see cluster_members.kind';
comment on column clusters.definition is 'which tokens it has';
comment on column clusters.n_tokens is 'how many those are';
comment on column clusters.n_vectors is
'different rows of W among them (rows that aren''t finite count as none)';
