select min(cosine_bf16) as cosine_min
from scores
where reference = '1.4a';
