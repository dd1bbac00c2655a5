with centre as (
    select
        model,
        vector::double[] as numbers,
        length_of(vector) as norm
    from reference_vectors
    where reference = '1.6a'
),

logits as (
    select dot_of(v.vector, c.numbers) / c.norm as logit
    from vectors as v
    inner join centre as c on v.model = c.model
)

select [max(logit), min(logit)] as logits
from logits;
