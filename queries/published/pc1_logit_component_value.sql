with pc1 as (
    select
        bf16_list(
            list_transform(
                p.vector,
                lambda part: part * sign(
                    list_inner_product(p.vector, r.vector::double[])
                )
            )
        ) as h16
    from principal_components as p
    inner join reference_vectors as r on p.model = r.model and r.reference = '1.6a'
    where p.pc = 1
),

logits as (
    select distinct bf16(dot_of(v.vector, pc1.h16)) as logit
    from cluster_members as c
    inner join vectors as v on c.model = v.model and c.token_id = v.token_id
    cross join pc1
    where c.cluster = 'largest-component'
)

select list(logit order by logit) as logits
from logits;
