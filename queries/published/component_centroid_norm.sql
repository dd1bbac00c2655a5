with centroid as (
    select vector::double[] as elements
    from reference_vectors
    where reference = '1.6a'
)

select sqrt(list_inner_product(elements, elements)) as component_centroid_norm
from centroid;
