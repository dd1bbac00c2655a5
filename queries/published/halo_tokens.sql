select count(*) as n_tokens
from tokens as t
anti join cluster_members as c
    on
        t.model = c.model
        and t.token_id = c.token_id
        and c.cluster = 'largest-component'
where not t.roundtrips;
