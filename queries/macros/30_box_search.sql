-- box_search: tokens in the square window of the notebooks' telescope (1.5d).
-- Grain: one row per token with |lat - at_lat| and |lon - at_lon| within half the
-- diameter, bounds inclusive, in degrees. A window over longitude 180 doesn't wrap.
create macro box_search(at_lat, at_lon, diameter) as table
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
where
    f.lat between at_lat - diameter / 2 and at_lat + diameter / 2
    and f.lon between at_lon - diameter / 2 and at_lon + diameter / 2;

comment on macro table box_search is
'tokens in a square window of the sky: centre and side in degrees, bounds inclusive';
