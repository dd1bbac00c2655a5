with mean_row as (
    select vector::double[] as elements
    from reference_vectors
    where reference = 'mean'
)

select sqrt(list_inner_product(elements, elements)) as mean_vector_norm
from mean_row;
