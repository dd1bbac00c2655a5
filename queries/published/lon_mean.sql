select avg(lon) as lon_mean
from features;
