select coalesce(sum(n_tokens), 0)::bigint as duplicate_tokens
from duplicate_groups;
