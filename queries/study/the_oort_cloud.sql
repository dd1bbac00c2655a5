-- What is nearest to the cluster, outside it?
-- Asked by qwen3/euclidean_shells (box 4), which called it the Oort cloud, there from
-- the largest group's row: here from the component's centroid.
select
    s.token_id,
    t.text,
    format('{:.6e}', s.distance) as distance
from scores as s
inner join tokens as t on s.model = t.model and s.token_id = t.token_id
inner join features as f on s.model = f.model and s.token_id = f.token_id
inner join components as c on f.component <> c.component and c.component_rank = 1
where s.reference = reference_named('1.6a')
order by s.distance
limit 11;
