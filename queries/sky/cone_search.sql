-- cone_search: tokens within an angle of a point on the sky.
-- Grain: one row per token; separation is the great-circle angle in degrees, by the
-- formula that is accurate at every distance (Vincenty's, on a sphere).
-- noqa: disable=LT02
create macro cone_search(at_lat, at_lon, angle) as table
with asked as not materialized (
    select
        at_lat::double as centre_lat,
        at_lon::double as centre_lon,
        angle::double as widest
),

apart as (
    select
        f.model,
        f.token_id,
        f.lat,
        f.lon,
        f.radius,
        f.norm,
        f.duplicate_of,
        f.duplicate_count,
        c.widest,
        degrees(atan2(
            sqrt(
                pow(cos(radians(f.lat)) * sin(radians(f.lon - c.centre_lon)), 2)
                + pow(
                    cos(radians(c.centre_lat)) * sin(radians(f.lat))
                    - sin(radians(c.centre_lat))
                    * cos(radians(f.lat))
                    * cos(radians(f.lon - c.centre_lon)),
                    2
                )
            ),
            sin(radians(c.centre_lat)) * sin(radians(f.lat))
            + cos(radians(c.centre_lat))
            * cos(radians(f.lat))
            * cos(radians(f.lon - c.centre_lon))
        )) as separation
    from features as f
    cross join asked as c
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
where a.separation <= a.widest;

comment on macro table cone_search is
'tokens within an angle of a point on the sky (degrees), with their separation from it';
