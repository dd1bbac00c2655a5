-- cluster_members: which tokens are in which cluster, of every kind.
-- Grain: one row per model, cluster and token in it.
create view cluster_members as
with modes as materialized (
    select
        model,
        reference,
        metric,
        value
    from mode_classes
),

inside as (
    select
        s.model,
        'cosine-mode' as kind,
        s.reference as made_of,
        s.token_id
    from scores as s
    inner join modes as m
        on
            s.model = m.model
            and s.reference = m.reference
            and m.metric = 'cosine'
            and s.cosine_bf16 = m.value
    union all
    select
        s.model,
        'dot-mode' as kind,
        s.reference as made_of,
        s.token_id
    from scores as s
    inner join modes as m
        on
            s.model = m.model
            and s.reference = m.reference
            and m.metric = 'dot'
            and s.dot_bf16 = m.value
    union all
    select
        s.model,
        'dot-self' as kind,
        s.reference as made_of,
        s.token_id
    from scores as s
    inner join reference_vectors as r
        on
            s.model = r.model
            and s.reference = r.reference
            and s.dot_bf16 = r.self_dot_bf16
    union all
    select
        model,
        'component' as kind,
        component::varchar as made_of,
        token_id
    from features
    where component_size > 1
    union all
    select
        f.model,
        'largest-component' as kind,
        null as made_of,
        f.token_id
    from features as f
    inner join components as c
        on f.model = c.model and f.component = c.component and c.component_rank = 1
    union all
    select
        model,
        'duplicate' as kind,
        duplicate_of::varchar as made_of,
        token_id
    from features
    where duplicate_count > 1
    union all
    select
        model,
        'recipe' as kind,
        cluster as made_of,
        token_id
    from recipe_clusters
)

select
    model,
    name_of_cluster(kind, made_of) as cluster,
    token_id,
    kind
from inside;

comment on view cluster_members is
'One row per cluster and token in it; from clusters lists the clusters.';
comment on column cluster_members.model is 'the catalogued matrix';
comment on column cluster_members.cluster is 'the cluster''s name';
comment on column cluster_members.token_id is 'a token in it';
comment on column cluster_members.kind is
'the cluster''s kind: cosine-mode, dot-mode, dot-self, component, largest-component,
duplicate or recipe';
