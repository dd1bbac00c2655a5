-- component_vectors: the different rows of the largest component, and how far each is
-- from the largest duplicate group's row: the largest difference of two values.
-- Grain: one row per vector, known by its lowest token_id.
-- noqa: disable=LT02
create macro component_vectors() as table
select
    m.model,
    m.token_id,
    m.duplicate_count as n_tokens,
    list_max(
        list_transform(
            list_zip(v.vector, o.vector),
            lambda pair: abs(pair[1]::double - pair[2]::double)
        )
    ) as linf,
    v.vector
from members('largest-component') as m
inner join vectors as v on m.model = v.model and m.token_id = v.token_id
inner join duplicate_vectors as o on m.model = o.model and o.group_rank = 1
where m.token_id = m.duplicate_of
order by m.model, m.token_id;

comment on macro table component_vectors is
'the different rows of the largest component: tokens that have it, and the largest difference
of its values from the largest duplicate group''s (linf)';
