-- self_dot_value: bf16 h.h of token 124 (1.5d).
select self_dot_bf16 as self_dot_value
from reference_vectors
where reference = '1.5d';
