select avg(radius) as radius_mean
from features;
