select list_max(vector)::double as value_max
from duplicate_vectors
where group_rank = 1;
