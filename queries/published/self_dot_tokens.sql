-- self_dot_tokens: tokens with bf16 t.h = h.h for the row of token 124 (1.5d).
select count(*) as self_dot_tokens
from cluster_members
where cluster = '1.5d:dot-self';
