select sum(n_tokens)::bigint as n_tokens
from own_ulp_flood((select list(token_id) from duplicate_vectors));
