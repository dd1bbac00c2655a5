-- component_count_in_spike: distinct whole-vocabulary components at 0.002 among the
-- spike tokens (the notebook's graph had only the spike's tokens: the same unless a
-- token outside bridges two inside) (1.4h).
select count(distinct f.component) as n_components
from features as f
inner join recipe_clusters as c
    on f.model = c.model and f.token_id = c.token_id and c.cluster = 'spike';
