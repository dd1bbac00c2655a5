-- In which dimensions do the duplicate groups' rows differ?
-- Asked by 12.4g_bfloat16_bit_pattern_analysis (box 1): there are 2,540 in which they
-- all agree, and 20 in which they have 2 different values, 3, or more.
with parts as (
    select
        generate_subscripts(v.vector, 1) - 1 as dim,
        unnest(v.vector) as number
    from vectors as v
    inner join duplicate_groups as g on v.token_id = g.duplicate_of
)

select
    dim,
    list(distinct number order by number) as different_values
from parts
group by dim
having count(distinct number) > 1
order by dim;
