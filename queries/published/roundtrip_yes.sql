select count(*) as n_tokens
from tokens
where roundtrips;
