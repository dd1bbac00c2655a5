-- lon_mean: mean longitude (Azimuth II 1.3a).
select avg(lon) as lon_mean
from features;
