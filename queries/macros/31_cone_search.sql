-- cone_search: tokens within an angle of a point on the sky.
-- Grain: one row per token; separation is the great-circle angle in degrees, by the
-- formula that is accurate at every distance (Vincenty's, on a sphere).
create macro cone_search(at_lat, at_lon, angle) as table
with apart as (
    select
        f.model,
        f.token_id,
        f.lat,
        f.lon,
        f.radius,
        f.norm,
        f.duplicate_of,
        f.duplicate_count,
        degrees(atan2(
            sqrt(
                pow(cos(radians(f.lat)) * sin(radians(f.lon - at_lon)), 2)
                + pow(
                    cos(radians(at_lat)) * sin(radians(f.lat))
                    - sin(radians(at_lat))
                    * cos(radians(f.lat))
                    * cos(radians(f.lon - at_lon)),
                    2
                )
            ),
            sin(radians(at_lat)) * sin(radians(f.lat))
            + cos(radians(at_lat)) * cos(radians(f.lat)) * cos(radians(f.lon - at_lon))
        )) as separation
    from features as f
    where f.lat is not null
)

select
    a.model,
    a.token_id,
    t.text,
    t.kind,
    a.separation,
    a.lat,
    a.lon,
    a.radius,
    a.norm,
    a.duplicate_of,
    a.duplicate_count
from apart as a
inner join tokens as t on a.model = t.model and a.token_id = t.token_id
where a.separation <= angle;

comment on macro table cone_search is
'tokens within an angle of a point on the sky (degrees), with their separation from it';
