select max(token_id) as token_id_max
from cluster_members
where cluster = 'largest-component';
