select list(n_tokens order by n_tokens desc) as sizes
from duplicate_groups;
