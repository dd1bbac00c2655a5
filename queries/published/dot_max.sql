select max(dot_bf16) as dot_max
from scores
where reference = '1.5c';
