select max(distance) as distance_max
from neighborhood_vectors(5);
