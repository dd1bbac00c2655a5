with logits as (
    select dot_of(v.vector, r.vector::double[]) / length_of(r.vector) as logit
    from cluster_members as c
    inner join features as f on c.model = f.model and c.token_id = f.token_id
    inner join vectors as v on c.model = v.model and c.token_id = v.token_id
    inner join reference_vectors as r on c.model = r.model and r.reference = '1.6a'
    where c.cluster = 'largest-component' and f.token_id = f.duplicate_of
)

select [min(logit), max(logit)] as logits
from logits;
