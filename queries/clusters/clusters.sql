-- clusters: every set of tokens that has a name.
-- Grain: one row per model and cluster of one token or more.
create view clusters as
with sized as (
    select
        c.model,
        c.cluster,
        count(*)::integer as n_tokens,
        count(distinct f.duplicate_of)::integer as n_vectors
    from cluster_members as c
    inner join features as f on c.model = f.model and c.token_id = f.token_id
    group by c.model, c.cluster
),

-- A name has one colon at most; after it REF:dot-mode has its kind, component:1 its ID.
kinds as (
    select
        model,
        cluster,
        n_tokens,
        n_vectors,
        split_part(cluster, ':', 1) as first_part,
        case
            when cluster = 'largest-component' then cluster
            when split_part(cluster, ':', 2) = '' then 'recipe'
            when
                split_part(cluster, ':', 2) in ('cosine-mode', 'dot-mode', 'dot-self')
                then split_part(cluster, ':', 2)
            else split_part(cluster, ':', 1)
        end as kind
    from sized
),

recipes as (
    select
        model,
        cluster,
        any_value(definition) as definition
    from recipe_clusters
    group by model, cluster
)

select
    k.model,
    k.cluster,
    k.kind,
    case
        when k.kind in ('cosine-mode', 'dot-mode')
            then
                m.metric || '_bf16 = ' || m.value || ', the most frequent, from '
                || k.first_part
        when k.kind = 'dot-self'
            then
                'dot_bf16 = ' || r.self_dot_bf16 || ', as ' || k.first_part
                || ' has with itself'
        when k.kind = 'recipe' then q.definition
        when k.kind = 'duplicate'
            then 'rows equal to row ' || split_part(k.cluster, ':', 2)
        else 'chained by distances < ' || o.linkage_threshold
    end as definition,
    k.n_tokens,
    k.n_vectors
from kinds as k
inner join models as o on k.model = o.model
left join mode_classes as m
    on
        k.model = m.model
        and k.first_part = m.reference
        and k.kind = m.metric || '-mode'
left join reference_vectors as r
    on k.model = r.model and k.first_part = r.reference and k.kind = 'dot-self'
left join recipes as q on k.model = q.model and k.cluster = q.cluster
order by k.model asc, k.n_tokens desc, k.cluster asc;

comment on view clusters is
'One row per cluster, the largest first: what bf16 can''t tell apart from a reference
(REF:cosine-mode, REF:dot-mode, REF:dot-self), components, equal rows, and the recipe''s.';
comment on column clusters.model is 'the catalogued matrix';
comment on column clusters.cluster is
'the name: for members(…), overlap(…, …), centroid_of(…) and a recipe''s centroid';
comment on column clusters.kind is
'cosine-mode, dot-mode, dot-self, component, largest-component, duplicate or recipe';
comment on column clusters.definition is 'which tokens it has';
comment on column clusters.n_tokens is 'how many those are';
comment on column clusters.n_vectors is
'different rows of W among them (rows that aren''t finite count as none)';
