-- lat_mean: mean latitude in degrees (north PC2; meridian PC1; equinox PC3; uncentred
-- W) (Azimuth II 1.3a).
select avg(lat) as lat_mean
from features;
