-- lattice_components: connected components of a cluster's tokens, where two are joined
-- that are within some lattice steps of each other in every dimension; up to 5,000
-- different vectors.
-- Grain: one row per finite token, in each model in view that has a cluster of the
-- name; a component is known by its lowest token_id.
-- Each vector takes the lowest label that a neighbour has, or that the vector of its
-- own label has, till none changes: the second makes it a matter of few rounds.
-- noqa: disable=LT02
create macro lattice_components(cluster_name, most_steps) as table
with recursive inside as materialized (
    select
        model,
        token_id,
        vector_token_id
    from lattice_tokens(cluster_name)
),

pairs as materialized (
    select
        model,
        token_id,
        other_token_id
    from lattice_pairs(cluster_name, most_steps, 5000)
),

edges as materialized (
    select
        model,
        token_id,
        other_token_id
    from pairs
    union all
    select
        model,
        other_token_id as token_id,
        token_id as other_token_id
    from pairs
),

labelled as (
    select
        model,
        token_id,
        token_id as label,
        true as is_changing
    from inside
    where token_id = vector_token_id
    union all
    (
        with offered as (
            select
                model,
                token_id,
                label,
                true as is_own
            from labelled
            union all
            select
                e.model,
                e.token_id,
                l.label,
                false as is_own
            from edges as e
            inner join labelled as l
                on e.model = l.model and e.other_token_id = l.token_id
            union all
            select
                l.model,
                l.token_id,
                o.label,
                false as is_own
            from labelled as l
            inner join labelled as o on l.model = o.model and l.label = o.token_id
        )

        select
            model,
            token_id,
            min(label) as label,
            min(label) < min(label) filter (where is_own) as is_changing
        from offered
        where (select bool_or(is_changing) from labelled)
        group by model, token_id
    )
),

-- Labels only ever fall.
settled as materialized (
    select
        model,
        token_id,
        min(label) as component
    from labelled
    group by model, token_id
),

sized as materialized (
    select
        i.model,
        s.component,
        count(*)::integer as component_size
    from inside as i
    inner join settled as s on i.model = s.model and i.vector_token_id = s.token_id
    group by i.model, s.component
)

select
    i.model,
    i.token_id,
    t.text,
    s.component,
    z.component_size
from inside as i
inner join settled as s on i.model = s.model and i.vector_token_id = s.token_id
inner join sized as z on s.model = z.model and s.component = z.component
inner join tokens as t on i.model = t.model and i.token_id = t.token_id
order by i.model, i.token_id;

comment on macro table lattice_components is
'each finite token''s component, by its lowest token_id, within a cluster: joined where at
most so many lattice steps apart in every dimension; an error past 5,000 different vectors';
