-- components: connected components at the threshold (notebook 1.4h, for all tokens).
-- Grain: one row per model and component of 2 tokens or more.
-- A component is a run of linkage_order, and its first token the lowest: so the heights
-- at the run's two ends are that token's, and that of the next component's first token.
create view components as
with heads as (
    select
        model,
        component,
        component_size,
        linkage_distance,
        lead(linkage_distance) over (
            partition by model order by linkage_order
        ) as next_distance
    from features
    where token_id = component
),

insides as (
    select
        model,
        component,
        count(*) filter (where token_id = duplicate_of) as n_vectors,
        sum(n_neighbors) // 2 as n_edges
    from features
    where component_size > 1
    group by model, component
)

select
    h.model,
    h.component,
    h.component_size as n_tokens,
    i.n_vectors::integer as n_vectors,
    i.n_edges::bigint as n_edges,
    d.diameter,
    least(h.linkage_distance, h.next_distance) as gap,
    row_number() over (
        partition by h.model order by h.component_size desc, h.component asc
    )::integer as component_rank
from heads as h
inner join insides as i on h.model = i.model and h.component = i.component
left join component_diameters as d
    on h.model = d.model and h.component = d.component
order by h.model, component_rank;

comment on view components is
'One row per component at models.linkage_threshold, of 2 tokens or more, the largest
first; single tokens are in features.';
comment on column components.model is 'the catalogued matrix';
comment on column components.component is 'lowest token_id of the component';
comment on column components.n_tokens is 'tokens in it';
comment on column components.n_vectors is 'different rows of W among them';
comment on column components.n_edges is
'pairs of its tokens at distances < models.linkage_threshold';
comment on column components.diameter is
'largest distance between two of its rows; NULL past 5,000 different rows';
comment on column components.gap is
'distance to the nearest token outside it; NULL where that isn''t <
models.linkage_radius';
comment on column components.component_rank is
'1 is the largest, the one of most tokens; of components as large, the lowest first';
