select self_dot_bf16 as self_dot_value
from reference_vectors
where reference = '1.5d';
