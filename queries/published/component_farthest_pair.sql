select [token_id, other_token_id] as farthest_pair
from pairs_within('largest-component')
order by euclidean desc, token_id asc, other_token_id asc
limit 1;
