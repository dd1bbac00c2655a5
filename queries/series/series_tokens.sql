-- series_tokens: what becomes of a token, from step to step.
-- Grain: one row per token of each matrix of a series.
create view series_tokens as
select
    r.series,
    r.role,
    r.matrix,
    r.step,
    r.model,
    r.token_id,
    t.text,
    r.norm,
    r.x,
    r.y,
    r.z,
    r.lat,
    r.lon,
    r.movement,
    r.movement_steps,
    r.changed,
    r.duplicate_of,
    r.duplicate_count,
    r.component,
    r.component_size
from series_rows() as r
inner join tokens as t on r.model = t.model and r.token_id = t.token_id;

comment on view series_tokens is
'One row per token and matrix of a series: its length and place at each step, how far it
has moved since the step before, its duplicates and component.';
comment on column series_tokens.series is 'the run whose matrices belong together';
comment on column series_tokens.role is
'what the matrix is in its series, such as m, v or grad; NULL for the weights';
comment on column series_tokens.matrix is
'tied, input or output; NULL for a bare W';
comment on column series_tokens.step is 'the training step';
comment on column series_tokens.model is 'the catalogued matrix of that step';
comment on column series_tokens.token_id is 'row of W, the same token at every step';
comment on column series_tokens.text is
'the token''s bytes as UTF-8; NULL where they aren''t UTF-8 by themselves';
comment on column series_tokens.norm is 'L2 norm of the row as stored, in fp64';
comment on column series_tokens.x is 'row · meridian axis, of the sky of this matrix';
comment on column series_tokens.y is 'row · equinox axis';
comment on column series_tokens.z is 'row · north axis';
comment on column series_tokens.lat is
'latitude in degrees; comparable from step to step where series_frames has the matrix';
comment on column series_tokens.lon is 'longitude in degrees; as lat';
comment on column series_tokens.movement is
'Euclidean distance of the row from the step before''s, of the stored values in fp64;
NULL at the first step, where one of the two isn''t finite, or isn''t in vectors';
comment on column series_tokens.movement_steps is
'the same in lattice steps, the largest over the dimensions; NULL where movement is, and
unless both are stored in bf16';
comment on column series_tokens.changed is
'whether a value of the row differs from the step before''s (-0.0 is 0.0); NULL where
movement is';
comment on column series_tokens.duplicate_of is
'lowest token_id with an equal row at this step (its own where alone)';
comment on column series_tokens.duplicate_count is
'rows equal to this one at this step, itself included';
comment on column series_tokens.component is
'lowest token_id of the component at this step''s models.linkage_threshold';
comment on column series_tokens.component_size is 'tokens in that component';
