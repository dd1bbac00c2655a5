-- cosine_min: smallest bf16 cosine (1.4a).
select min(cosine_bf16) as cosine_min
from scores
where reference = '1.4a';
