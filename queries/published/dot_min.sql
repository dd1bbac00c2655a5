-- dot_min: smallest bf16 dot product (1.5c).
select min(dot_bf16) as dot_min
from scores
where reference = '1.5c';
