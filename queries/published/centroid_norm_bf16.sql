select bf16(norm) as centroid_norm_bf16
from reference_vectors
where reference = '1.5c';
