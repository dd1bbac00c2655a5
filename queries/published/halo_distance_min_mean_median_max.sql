select
    [
        min(s.distance),
        avg(s.distance),
        quantile_disc(s.distance, 0.5),
        max(s.distance)
    ] as distances
from tokens as t
inner join scores as s
    on t.model = s.model and t.token_id = s.token_id and s.reference = '1.6a'
anti join cluster_members as c
    on
        t.model = c.model
        and t.token_id = c.token_id
        and c.cluster = 'largest-component'
where not t.roundtrips;
