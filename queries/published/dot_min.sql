select min(dot_bf16) as dot_min
from scores
where reference = '1.5c';
