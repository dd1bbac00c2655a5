select list(token_id order by token_id)[:20] as first_20
from cluster_members
where cluster = 'largest-component';
