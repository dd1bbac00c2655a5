-- duplicate_group_sizes: sizes in descending order (Azimuth II 06.1h).
select list(n_tokens order by n_tokens desc) as sizes
from duplicate_groups;
