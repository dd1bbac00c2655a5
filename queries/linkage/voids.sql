-- voids: how clearly the largest component stands apart (the notebooks' void boundary).
-- Grain: one row per pair of successive merge distances in a model's largest component
-- at the threshold, and from its last one to the nearest token outside it (NULL where
-- that isn't below the radius; the ratio is then a lower bound). A component that is
-- nothing but equal rows has no merges, however large.
create view voids as
with largest as (
    select
        model,
        component,
        gap
    from components
    where n_vectors > 1
    qualify
        row_number() over (partition by model order by component_rank) = 1
),

merging as (
    select
        f.model,
        f.linkage_distance as height,
        count(*) as n_merges
    from features as f
    inner join largest as l on f.model = l.model and f.component = l.component
    where f.token_id <> f.component
    group by f.model, f.linkage_distance
    union all
    select
        model,
        gap as height,
        0 as n_merges
    from largest
    where gap is not null
),

gaps as (
    select
        model,
        height as below,
        n_merges,
        lead(height) over (partition by model order by height) as above,
        1 + sum(n_merges) over (partition by model order by height) as n_tokens_below
    from merging
)

select
    g.model,
    g.below,
    g.above,
    coalesce(g.above, m.linkage_radius) / g.below as ratio,
    g.n_tokens_below::integer as n_tokens_below
from gaps as g
inner join models as m on g.model = m.model
where g.n_merges > 0 and g.below > 0
order by g.model asc, ratio desc;

comment on view voids is
'One row per gap between successive merge distances of a model''s largest component at
models.linkage_threshold (but for one of equal rows only), and after them; the widest
ratio first. Within a gap, nothing in it merges.';
comment on column voids.model is 'the catalogued matrix';
comment on column voids.below is 'distance of the last merge under the gap';
comment on column voids.above is
'distance of the next one, over it; NULL where that isn''t < models.linkage_radius';
comment on column voids.ratio is
'above / below; where above is NULL, models.linkage_radius / below, and so at least
that';
comment on column voids.n_tokens_below is
'tokens of the component, less the merges still to come over the gap: where one part
has grown alone, its size';
