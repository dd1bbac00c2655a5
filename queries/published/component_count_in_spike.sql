select count(distinct f.component) as n_components
from features as f
inner join recipe_clusters as c
    on f.model = c.model and f.token_id = c.token_id and c.cluster = 'spike';
