select list(duplicate_of order by n_tokens desc, duplicate_of asc) as first_ids
from duplicate_groups;
