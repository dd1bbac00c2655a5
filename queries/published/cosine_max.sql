select max(cosine_bf16) as cosine_max
from scores
where reference = '1.4a';
