-- n_tokens: rows of W (1.4a).
select count(*) as n_tokens
from features;
