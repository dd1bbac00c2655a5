-- Components at another distance are another query, not another ingest.
select
    component_size,
    count(*) // component_size as n_components,
    list(text order by token_id)[:5] as first_tokens
from components_at(0.27)
group by component_size
order by component_size desc;
