-- cosine_first_20: first 20 token_ids of the cosine mode class (1.4a).
select list(token_id order by token_id)[:20] as first_20
from cluster_members
where cluster = '1.4a:cosine-mode';
