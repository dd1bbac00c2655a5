select list(token_id order by token_id)[:10] as first_10
from cluster_members
where cluster = '1.5d:dot-self';
