-- The dead component: tokens chained by distances under 0.3. No text ever moved them.
select
    t.kind,
    count(*) as n_tokens,
    round(avg(f.norm), 2) as mean_norm,
    round(avg(f.nn_distance), 3) as mean_nn_distance,
    list(t.piece order by f.linkage_distance, f.token_id)[:4] as first_to_join
from features as f
inner join tokens as t on f.model = t.model and f.token_id = t.token_id
inner join components as c on f.model = c.model and f.component = c.component
where c.n_tokens > 1000
group by t.kind
order by n_tokens desc;
