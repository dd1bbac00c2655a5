-- radius_mean: mean projected radius (Azimuth II 1.3a).
select avg(radius) as radius_mean
from features;
