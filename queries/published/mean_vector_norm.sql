-- mean_vector_norm: norm of the mean row (Azimuth II 07.3d).
select
    sqrt(
        list_sum(list_transform(vector, lambda e: e::double * e))
    ) as mean_vector_norm
from reference_vectors
where reference = 'mean';
