-- The same at other distances: each is a query, not another ingest.
select
    0.25 as distance,
    max(component_size) as largest_component
from components_at(0.25)
union all
select
    0.27 as distance,
    max(component_size) as largest_component
from components_at(0.27)
union all
select
    0.33 as distance,
    max(component_size) as largest_component
from components_at(0.33);
