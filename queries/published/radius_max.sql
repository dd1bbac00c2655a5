select max(radius) as radius_max
from features;
