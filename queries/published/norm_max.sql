select max(norm) as norm_max
from features;
