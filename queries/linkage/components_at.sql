-- components_at: connected components at any distance up to the model's linkage_radius.
-- Grain: one row per token whose row is finite. An edge joins two tokens at a Euclidean
-- distance < the one asked for; a component is known by its lowest token_id.
-- Components are runs of linkage_order (catalog/README.md, section 6).
-- noqa: disable=LT02
create macro components_at(distance) as table
with given as not materialized (
    select distance::double as at_distance
),

asked as materialized (
    select
        m.model,
        case
            when not coalesce(g.at_distance >= 0 and not isnan(g.at_distance), false)
                then
                    error(
                        'components_at: '
                        || coalesce(g.at_distance::varchar, 'NULL')
                        || ' is no distance; give one of 0 or more'
                    )
            when g.at_distance <= m.linkage_radius then g.at_distance
            else
                error(
                    m.model || ': linked up to '
                    || coalesce(m.linkage_radius::varchar, 'no distance')
                    || ', so there are no components at ' || g.at_distance::varchar
                    || '; `token-catalog relink ' || m.model || ' --radius R` links'
                    || ' further; set variable model = ''NAME'' leaves others out'
                )
        end as at_distance
    from models as m
    cross join given as g
    where model_in_view(m.model)
),

runs as materialized (
    select
        f.model,
        f.token_id,
        sum(case when f.linkage_distance < a.at_distance then 0 else 1 end) over (
            partition by f.model order by f.linkage_order rows unbounded preceding
        ) as run
    from features as f
    inner join asked as a on f.model = a.model
    where f.linkage_order is not null
),

sized as materialized (
    select
        model,
        run,
        min(token_id) as component,
        count(*)::integer as component_size
    from runs
    group by model, run
),

-- Materialized: with the variable model set, DuckDB 1.5 would join sized and tokens,
-- which have nothing but the model in common, before either meets runs.
labelled as materialized (
    select
        r.model,
        r.token_id,
        s.component,
        s.component_size
    from runs as r
    inner join sized as s on r.model = s.model and r.run = s.run
)

select
    l.model,
    l.token_id,
    t.text,
    l.component,
    l.component_size
from labelled as l
inner join tokens as t on l.model = t.model and l.token_id = t.token_id
union all
-- No rows: but where no token is linked, the question is still refused.
select
    model,
    null as token_id,
    null as text,
    null as component,
    null as component_size
from asked
where at_distance is null;

comment on macro table components_at is
'each token''s component at a distance (joined where nearer than that), known by its
lowest token_id (no row for a token whose row isn''t finite); past models.linkage_radius
of any model in view, an error';
