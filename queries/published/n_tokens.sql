select count(*) as n_tokens
from features;
