-- component_first_20: its first 20 token_ids (1.4h).
select list(token_id order by token_id)[:20] as first_20
from cluster_members
where cluster = 'largest-component';
