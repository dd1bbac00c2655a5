select list(t.token_id order by t.token_id) as reachable_ids
from tokens as t
inner join cluster_members as c
    on
        t.model = c.model
        and t.token_id = c.token_id
        and c.cluster = 'largest-component'
where t.roundtrips;
