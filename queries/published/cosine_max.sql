-- cosine_max: largest bf16 cosine (3 tokens) (1.4a).
select max(cosine_bf16) as cosine_max
from scores
where reference = '1.4a';
