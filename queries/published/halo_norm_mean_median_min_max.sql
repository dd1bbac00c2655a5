select
    [
        avg(f.norm), quantile_disc(f.norm, 0.5), min(f.norm), max(f.norm)
    ] as norms
from tokens as t
inner join features as f on t.model = f.model and t.token_id = f.token_id
anti join cluster_members as c
    on
        t.model = c.model
        and t.token_id = c.token_id
        and c.cluster = 'largest-component'
where not t.roundtrips;
