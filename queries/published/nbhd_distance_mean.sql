select avg(distance) as distance_mean
from neighborhood_vectors(5);
