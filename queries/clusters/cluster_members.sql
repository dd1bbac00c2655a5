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

largest as (
    select
        model,
        min(component) as component
    from features
    where component_size > 1
    group by model, component_size
    qualify
        row_number() over (partition by model order by component_size desc) = 1
)

select
    s.model,
    s.reference || ':cosine-mode' as cluster,
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
    s.reference || ':dot-mode' as cluster,
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
    s.reference || ':dot-self' as cluster,
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
    'component:' || component as cluster,
    token_id
from features
where component_size > 1
union all
select
    f.model,
    'largest-component' as cluster,
    f.token_id
from features as f
inner join largest as l on f.model = l.model and f.component = l.component
union all
select
    model,
    'duplicate:' || duplicate_of as cluster,
    token_id
from features
where duplicate_count > 1
union all
select
    model,
    cluster,
    token_id
from recipe_clusters;

comment on view cluster_members is
'One row per cluster and token in it; from clusters lists the clusters.';
comment on column cluster_members.model is 'the catalogued matrix';
comment on column cluster_members.cluster is 'the cluster''s name';
comment on column cluster_members.token_id is 'a token in it';
