select count(*) as n_tokens
from tokens
where not roundtrips;
