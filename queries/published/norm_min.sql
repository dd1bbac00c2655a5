select min(norm) as norm_min
from features;
