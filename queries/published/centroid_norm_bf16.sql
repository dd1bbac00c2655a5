-- centroid_norm_bf16: norm of the bf16 mean of the cosine mode class (1.5c).
select bf16(norm) as centroid_norm_bf16
from reference_vectors
where reference = '1.5c';
