-- component_token_id_max: highest token_id of the largest component (1.4h).
select max(token_id) as token_id_max
from cluster_members
where cluster = 'largest-component';
