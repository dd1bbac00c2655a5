select min(token_id) as token_id_min
from cluster_members
where cluster = 'largest-component';
