-- frames: every token's place in every frame: the sky, a recipe's, spectra's skies.
-- Grain: one row per model, frame and row of W; the sky of `features` is the frame
-- 'default'. With where frame = '…', the others' row groups aren't read.
create view frames as
select
    model,
    'default' as frame,
    token_id,
    x,
    y,
    z,
    radius,
    lat,
    lon
from features
union all
select
    model,
    frame,
    token_id,
    x,
    y,
    z,
    radius,
    lat,
    lon
from frame_places;

comment on view frames is
'One row per frame and row of W: its place there; the frame default is the sky of
features. NULL where the row isn''t finite.';
comment on column frames.model is 'the catalogued matrix';
comment on column frames.frame is
'the frame: default, a recipe''s own name, or spectrum:CLUSTER; from frame_axes says
how each was defined';
comment on column frames.token_id is 'row of W';
comment on column frames.x is '(row - origin) · x axis';
comment on column frames.y is '(row - origin) · y axis';
comment on column frames.z is '(row - origin) · z axis';
comment on column frames.radius is '√(x² + y² + z²)';
comment on column frames.lat is
'latitude in degrees, asin(z / radius); NULL at radius 0';
comment on column frames.lon is 'longitude in degrees, atan2(y, x); NULL at radius 0';
