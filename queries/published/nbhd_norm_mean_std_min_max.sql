select [avg(f.norm), stddev_samp(f.norm), min(f.norm), max(f.norm)] as norms
from neighborhood_vectors(5) as v
inner join features as f on v.model = f.model and v.token_id = f.token_id;
