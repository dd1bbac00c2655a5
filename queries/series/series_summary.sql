-- series_summary: a series step by step.
-- Grain: one row per matrix of a series.
-- Means are over the finite rows. The centroid is that of `dimensions`, and the radius
-- about it of features.centred_norm, which are as the ingest found them: so `vectors`
-- is read for what has moved alone.
-- noqa: disable=LT02
create view series_summary as
with by_model as (
    select
        model,
        count(*)::integer as n_tokens,
        count(norm)::integer as n_finite,
        avg(case when changed then 0 else 1 end) filter (
            where changed is not null
        ) as share_frozen,
        count(*) filter (
            where duplicate_count > 1 and token_id = duplicate_of
        )::integer as n_groups,
        count(*) filter (where duplicate_count > 1)::integer as n_duplicates,
        count(*) filter (
            where component_size > 1 and token_id = component
        )::integer as n_components,
        max(component_size) as largest_component,
        sqrt(avg(centred_norm * centred_norm)) as radius,
        avg(norm) as mean_norm,
        avg(movement) as mean_movement,
        max(movement) as largest_movement
    from series_rows()
    group by model
),

centroids as (
    select
        model,
        case when count(mean) = count(*) then list(mean order by dim) end as centroid
    from dimensions
    group by model
),

paths as (
    select
        s.model,
        c.centroid,
        lag(c.centroid) over steps as centroid_before,
        first_value(c.centroid) over steps as first_centroid
    from series_steps as s
    left join centroids as c on s.model = c.model
    window steps as (partition by s.series, s.role, s.matrix order by s.step_number)
)

select
    s.series,
    s.role,
    s.matrix,
    s.step,
    s.model,
    r.n_tokens,
    r.n_finite,
    r.share_frozen,
    r.n_groups,
    r.n_duplicates,
    r.n_components,
    r.largest_component,
    c.centroid,
    case
        when len(c.centroid) = len(c.centroid_before)
            then list_distance(c.centroid, c.centroid_before)
    end as centroid_movement,
    case
        when len(c.centroid) = len(c.first_centroid)
            then list_distance(c.centroid, c.first_centroid)
    end as centroid_from_first,
    r.radius,
    r.mean_norm,
    r.mean_movement,
    r.largest_movement
from series_steps as s
inner join by_model as r on s.model = r.model
left join paths as c on s.model = c.model
order by s.series, s.role nulls first, s.matrix, s.step;

comment on view series_summary is
'One row per matrix of a series: how much of it stands still, how many rows are equal,
where its centroid goes, how wide it spreads.';
comment on column series_summary.series is 'the run whose matrices belong together';
comment on column series_summary.role is
'what the matrix is in its series, such as m, v or grad; NULL for the weights';
comment on column series_summary.matrix is
'tied, input or output; NULL for a bare W';
comment on column series_summary.step is 'the training step';
comment on column series_summary.model is 'the catalogued matrix of that step';
comment on column series_summary.n_tokens is 'rows of W';
comment on column series_summary.n_finite is
'rows without a NaN or an infinity: the others take no part in any of these figures';
comment on column series_summary.share_frozen is
'share of the rows in which no value differs from the step before''s, among those that
are finite at both; NULL at the first step';
comment on column series_summary.n_groups is
'vectors that two tokens or more share: rows of duplicate_groups';
comment on column series_summary.n_duplicates is 'tokens in those groups';
comment on column series_summary.n_components is
'components of 2 tokens or more at this step''s models.linkage_threshold';
comment on column series_summary.largest_component is
'tokens in the largest component (1 where every token is alone)';
comment on column series_summary.centroid is
'mean of the finite rows, in fp64: dimensions.mean';
comment on column series_summary.centroid_movement is
'Euclidean distance of the centroid from the step before''s; NULL at the first step';
comment on column series_summary.centroid_from_first is
'Euclidean distance of the centroid from the first step''s';
comment on column series_summary.radius is
'root of the mean squared distance of the finite rows from the centroid';
comment on column series_summary.mean_norm is 'mean of series_tokens.norm';
comment on column series_summary.mean_movement is
'mean of series_tokens.movement; NULL at the first step';
comment on column series_summary.largest_movement is
'the largest series_tokens.movement; NULL at the first step';
