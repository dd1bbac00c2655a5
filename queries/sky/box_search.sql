-- box_search: tokens in the square window of the notebooks' telescope (1.5d).
-- Grain: one row per token with |lat - at_lat| and |lon - at_lon| within half the
-- diameter, bounds inclusive, in degrees. A window over longitude 180 doesn't wrap.
-- noqa: disable=LT02
create macro box_search(at_lat, at_lon, diameter) as table
with asked as not materialized (
    select
        at_lat::double as centre_lat,
        at_lon::double as centre_lon,
        diameter::double / 2 as half_width
)

select
    f.model,
    f.token_id,
    t.text,
    t.kind,
    f.lat,
    f.lon,
    f.radius,
    f.norm,
    f.duplicate_of,
    f.duplicate_count
from features as f
inner join tokens as t on f.model = t.model and f.token_id = t.token_id
inner join asked as a
    on
        f.lat between a.centre_lat - a.half_width and a.centre_lat + a.half_width
        and f.lon between a.centre_lon - a.half_width and a.centre_lon + a.half_width;

comment on macro table box_search is
'tokens in a square window of the sky: centre and side in degrees, bounds inclusive; it
doesn''t wrap at longitude 180 (cone_search does)';
