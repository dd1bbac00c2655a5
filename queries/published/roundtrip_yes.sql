-- roundtrip_yes: tokenizer entries with encode(decode([id])) = [id] and no special
-- tokens added (Azimuth II 1.8d).
select count(*) as n_tokens
from tokens
where roundtrips;
