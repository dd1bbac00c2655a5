-- component_centroid_norm: norm of its fp32 mean row (1.6a).
select
    sqrt(
        list_sum(list_transform(vector, lambda e: e::double * e))
    ) as component_centroid_norm
from reference_vectors
where reference = '1.6a';
