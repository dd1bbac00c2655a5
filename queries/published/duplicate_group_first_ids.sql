-- duplicate_group_first_ids: lowest token_id of each in the same order (Azimuth II
-- 06.1h).
select list(duplicate_of order by n_tokens desc, duplicate_of asc) as first_ids
from duplicate_groups;
