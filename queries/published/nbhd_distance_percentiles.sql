select quantile_cont(distance, [0.5, 0.75, 0.9, 0.95, 0.99]) as distances
from neighborhood_vectors(5);
