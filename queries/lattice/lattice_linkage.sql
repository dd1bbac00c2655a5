-- lattice_linkage: single linkage of a cluster's finite tokens under L-infinity lattice
-- steps, in a canonical order, as linkage_order is: the components at any number of
-- steps are the runs of lattice_order, broken where lattice_steps is NULL or more.
-- Grain: one row per token, in each model in view that has a cluster of the name, up to
-- 1,000 different vectors.
-- Of the sequence of linkage_of, too, the components are runs, and each is known by its
-- lowest token_id. Sorted by these at every height, the greatest first, all components
-- stand together, and within each the lower first.
-- noqa: disable=LT02
create macro lattice_linkage(cluster_name) as table
with inside as materialized (
    select
        model,
        token_id,
        vector_token_id
    from lattice_tokens(cluster_name)
),

points as materialized (
    select
        model,
        token_id,
        row_number() over (partition by model order by token_id) as place
    from inside
    where token_id = vector_token_id
),

pairs as materialized (
    select
        p.model,
        p.place,
        q.place as other_place,
        d.linf
    from lattice_pairs(cluster_name, 65278, 1000) as d
    inner join points as p on d.model = p.model and d.token_id = p.token_id
    inner join points as q on d.model = q.model and d.other_token_id = q.token_id
),

joined as materialized (
    select
        model,
        id as place,
        linkage_place as step,
        height::integer as height
    from linkage_of((
        select
            list(struct_pack(
                model := model,
                id := place,
                other_id := other_place,
                distance := linf
            ))
        from pairs
    ))
),

heights as (
    select distinct
        model,
        height
    from joined
    where height is not null
),

runs as (
    select
        j.model,
        j.place,
        h.height,
        count(*) filter (where j.height is null or j.height > h.height) over (
            partition by j.model, h.height order by j.step rows unbounded preceding
        ) as run
    from joined as j
    inner join heights as h on j.model = h.model
),

lowest as (
    select
        model,
        height,
        run,
        min(place) as component_place
    from runs
    group by model, height, run
),

labelled as (
    select
        r.model,
        r.place,
        list(w.component_place order by r.height desc) as component_places,
        min(r.height) filter (where w.component_place < r.place) as height
    from runs as r
    inner join lowest as w
        on r.model = w.model and r.height = w.height and r.run = w.run
    group by r.model, r.place
)

select
    i.model,
    i.token_id,
    t.text,
    row_number() over (
        partition by i.model
        order by l.component_places, i.vector_token_id, i.token_id
    )::integer - 1 as lattice_order,
    case when i.token_id = i.vector_token_id then l.height else 0 end as lattice_steps
from inside as i
inner join points as p on i.model = p.model and i.vector_token_id = p.token_id
inner join tokens as t on i.model = t.model and i.token_id = t.token_id
left join labelled as l on p.model = l.model and p.place = l.place
order by i.model, lattice_order;

comment on macro table lattice_linkage is
'single linkage of a cluster''s tokens by the largest lattice steps over the dimensions:
components at any number of steps are runs of lattice_order, broken where lattice_steps is
NULL or more; an error past 1,000 different vectors';
