select count(*) as n_rows
from own_ulp_flood((select list(token_id) from duplicate_vectors));
