select max(bits_linf) as bits_linf
from neighborhood_pairs(5);
