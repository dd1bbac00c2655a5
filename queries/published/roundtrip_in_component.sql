-- roundtrip_in_component: round-tripping tokens in the largest component (Azimuth II
-- 1.8c).
select count(*) as n_tokens
from tokens as t
inner join cluster_members as c
    on
        t.model = c.model
        and t.token_id = c.token_id
        and c.cluster = 'largest-component'
where t.roundtrips;
