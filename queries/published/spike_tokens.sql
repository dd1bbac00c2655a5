select count(*) as spike_tokens
from recipe_clusters
where cluster = 'spike';
