-- component_gaps: the gaps between the different values that the rows of the largest
-- component have in a dimension.
-- Grain: one row per dimension and value of it but the greatest.
-- noqa: disable=LT02
create macro component_gaps() as table
with parts as materialized (
    select distinct
        v.model,
        generate_subscripts(v.vector, 1)::integer - 1 as dim,
        unnest(v.vector) + 0.0::float as number
    from component_vectors() as v
),

followed as (
    select
        model,
        dim,
        number as lower_value,
        lead(number) over (partition by model, dim order by number) as upper_value
    from parts
)

select
    model,
    dim,
    lower_value,
    upper_value
from followed
where upper_value is not null
order by model, dim, lower_value;

comment on macro table component_gaps is
'the neighbouring different values that the largest component''s rows have in a dimension:
lower_value, upper_value';
