-- roundtrip_no: tokenizer entries without (Azimuth II 1.8d).
select count(*) as n_tokens
from tokens
where not roundtrips;
