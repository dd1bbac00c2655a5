-- series_rows: what series_tokens tells, without the texts, for it and for the views
-- that sum it up.
-- Grain: one row per token of each matrix of a series.
-- `vectors` is read once, into a CTE that has no vector where none of the movements is
-- asked for. Joined twice, the views would read each file twice; a window with lag()
-- takes twice as long, a list of each token's rows by step three times. The movements
-- are computed last, of what a filter leaves.
-- Differences and squares are of DOUBLEs, so that a movement is 0 where no value
-- differs, and only there: that of two FLOATs, squared, is no less than 2^-298.
-- noqa: disable=LT02
create macro series_rows() as table
with steps as materialized (
    select
        series,
        role,
        matrix,
        step,
        step_number,
        model,
        previous_model,
        coalesce(dtype = 'bf16' and previous_dtype = 'bf16', false) as is_bf16
    from series_steps
),

stored as materialized (
    select
        v.model,
        v.token_id,
        v.vector
    from vectors as v
    inner join steps as s on v.model = s.model
),

paired as not materialized (
    select
        s.series,
        s.role,
        s.matrix,
        s.step,
        s.step_number,
        s.is_bf16,
        f.model,
        f.token_id,
        f.norm,
        f.x,
        f.y,
        f.z,
        f.lat,
        f.lon,
        f.duplicate_of,
        f.duplicate_count,
        f.component,
        f.component_size,
        f.centred_norm,
        v.vector,
        before.vector as vector_before,
        case
            when len(v.vector) = len(before.vector)
                then list_distance(v.vector::double[], before.vector::double[])
        end as distance
    from steps as s
    inner join features as f on s.model = f.model
    left join stored as v on f.model = v.model and f.token_id = v.token_id
    left join stored as before
        on s.previous_model = before.model and f.token_id = before.token_id
)

select
    series,
    role,
    matrix,
    step,
    step_number,
    model,
    token_id,
    norm,
    x,
    y,
    z,
    lat,
    lon,
    finite_or_null(distance) as movement,
    case
        when is_bf16 and isfinite(distance)
            then
                case
                    when distance > 0 then steps_moved(vector, vector_before) else 0
                end
    end::integer as movement_steps,
    case when isfinite(distance) then distance > 0 end as changed,
    duplicate_of,
    duplicate_count,
    component,
    component_size,
    centred_norm
from paired;

comment on macro table series_rows is
'each token at each step of every series in view, with its movement since the step before:
series_tokens, which adds the text';
