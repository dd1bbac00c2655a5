select list_min(vector)::double as value_min
from duplicate_vectors
where group_rank = 1;
