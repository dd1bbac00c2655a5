select avg(lat) as lat_mean
from features;
