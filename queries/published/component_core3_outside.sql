select list(f.token_id order by f.token_id) as outside
from component_vectors() as v
inner join features as f on v.model = f.model and v.token_id = f.duplicate_of
where v.linf > 3 * pow(2, -16);
