select avg(norm) as norm_mean
from features;
