-- component_token_id_min: lowest token_id of the largest component (1.4h).
select min(token_id) as token_id_min
from cluster_members
where cluster = 'largest-component';
