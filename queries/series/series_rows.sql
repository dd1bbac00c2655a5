-- series_rows: what series_tokens tells, without the texts, for it and for the views
-- that sum it up.
-- Grain: one row per token of each matrix of a series.
-- `vectors` is read once, into a CTE, and joined with itself: joined twice, the views
-- would read each file twice; a window with lag() takes twice as long, a list of each
-- token's rows by step three times. What is computed stands above that CTE, and not in
-- it, for shells before 2.0 compute all that stands in or beside one; 2.0 reads no
-- vector where no movement is asked for. A filter is applied before a movement is
-- computed.
-- Differences and squares are of DOUBLEs, so that a movement is 0 where no value
-- differs, and only there: that of two FLOATs, squared, is no less than 2^-298.
-- noqa: disable=LT02
create macro series_rows() as table
with paired as not materialized (
    with stored as materialized (
        select
            v.model,
            v.token_id,
            v.vector
        from vectors as v
        inner join series_steps as s on v.model = s.model
    )

    select
        s.series,
        s.role,
        s.matrix,
        s.step,
        s.step_number,
        s.dtype = 'bf16' and s.previous_dtype = 'bf16' as is_bf16,
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
        before.vector as vector_before
    from series_steps as s
    inner join features as f on s.model = f.model
    left join stored as v on f.model = v.model and f.token_id = v.token_id
    left join stored as before
        on s.previous_model = before.model and f.token_id = before.token_id
),

measured as not materialized (
    select
        series,
        role,
        matrix,
        step,
        step_number,
        is_bf16,
        model,
        token_id,
        norm,
        x,
        y,
        z,
        lat,
        lon,
        duplicate_of,
        duplicate_count,
        component,
        component_size,
        centred_norm,
        vector,
        vector_before,
        case
            when len(vector) = len(vector_before)
                then list_distance(vector::double[], vector_before::double[])
        end as distance
    from paired
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
from measured;

comment on macro table series_rows is
'each token at each step of every series in view, with its movement since the step before:
series_tokens, which adds the text';
