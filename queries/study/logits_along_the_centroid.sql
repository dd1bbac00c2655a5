-- Does the direction of the component's centroid tell its tokens from all others?
-- Asked by 1.7f_centroid_distinguishability_test_float32 (box 2): w · h, h the centroid
-- at length 1; here the centroid is rounded to bf16, as it is scored.
select
    f.component = c.component as in_the_component,
    count(*) as n_tokens,
    round(min(s.dot / r.norm), 9) as least,
    round(max(s.dot / r.norm), 9) as most
from scores as s
inner join reference_vectors as r on s.model = r.model and s.reference = r.reference
inner join features as f on s.model = f.model and s.token_id = f.token_id
inner join components as c on f.model = c.model and c.component_rank = 1
where s.reference = reference_named('1.6a')
group by in_the_component
order by in_the_component;
