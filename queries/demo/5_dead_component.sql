-- The dead component: tokens that hang together at 0.3, as no others do.
select
    t.kind,
    count(*) as n_tokens,
    round(avg(f.norm), 2) as mean_norm,
    round(avg(f.nn_distance), 3) as mean_nn_distance,
    list(t.piece order by f.nn_distance, f.token_id)[:4] as nearest_to_another
from features as f
inner join tokens as t on f.model = t.model and f.token_id = t.token_id
inner join components as c on f.model = c.model and f.component = c.component
where c.n_tokens > 1000
group by t.kind
order by n_tokens desc;
