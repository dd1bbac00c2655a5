-- spike_tokens: lat in [-15;5] lon in [-10;20] radius in [0.2;0.5] all inclusive (1.4h
-- and Azimuth II 1.4b).
select count(*) as spike_tokens
from recipe_clusters
where cluster = 'spike';
