with flooded as materialized (
    select token_id
    from own_ulp_flood((select list(token_id) from duplicate_vectors))
)

select count(distinct other_token_id) as n_rows
from own_ulp_neighbors((select list(token_id) from flooded), 5)
where other_token_id not in (from flooded);
