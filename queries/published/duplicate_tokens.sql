-- duplicate_tokens: tokens in those groups (Azimuth II 06.1h).
select coalesce(sum(n_tokens), 0)::bigint as duplicate_tokens
from duplicate_groups;
