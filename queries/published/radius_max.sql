-- radius_max: largest projected radius (Azimuth II 1.3a).
select max(radius) as radius_max
from features;
