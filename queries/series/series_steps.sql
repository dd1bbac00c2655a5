-- series_steps: the matrices of each series in the order of their steps, and which one
-- comes before. A series' roles (weights, gradients, an optimizer's states) and its
-- matrices (input, output) are sequences of their own.
-- Grain: one row per matrix in view that belongs to a series.
create view series_steps as
select
    series,
    role,
    matrix,
    step,
    model,
    dtype,
    row_number() over steps::integer as step_number,
    lag(step) over steps as previous_step,
    lag(model) over steps as previous_model,
    lag(dtype) over steps as previous_dtype
from models
where series is not null and model_in_view(model)
window steps as (partition by series, role, matrix order by step asc, model asc)
order by series, role nulls first, matrix, step;

comment on view series_steps is
'One row per matrix of a series: its step, and the step before it that is there, of the
same series, role and matrix.';
comment on column series_steps.series is 'the run whose matrices belong together';
comment on column series_steps.role is
'what the matrix is in its series, such as m, v or grad; NULL for the weights';
comment on column series_steps.matrix is
'tied, input or output; NULL for a bare W';
comment on column series_steps.step is 'its place in the series: the training step';
comment on column series_steps.model is 'the catalogued matrix';
comment on column series_steps.dtype is
'storage type of the matrix: bf16, fp16 or fp32';
comment on column series_steps.step_number is
'1 is the first step in view of the same series, role and matrix';
comment on column series_steps.previous_step is
'the next lower step in view of the same series, role and matrix; NULL at the first';
comment on column series_steps.previous_model is
'the matrix of that step; NULL at the first';
comment on column series_steps.previous_dtype is
'storage type of that matrix; NULL at the first';
