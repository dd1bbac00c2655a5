-- dot_max: largest bf16 dot product (1 token) (1.5c).
select max(dot_bf16) as dot_max
from scores
where reference = '1.5c';
