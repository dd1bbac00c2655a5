select count(*) as self_dot_tokens
from cluster_members
where cluster = '1.5d:dot-self';
