select max(exponent_distance) as exponent_distance_max
from exponent_neighborhood(largest_group_token(), 255);
