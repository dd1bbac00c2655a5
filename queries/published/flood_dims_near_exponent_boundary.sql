with mantissas as (
    select
        unnest(bits_of(v.vector)) & 127 as mantissa,
        generate_subscripts(v.vector, 1) as dim
    from own_ulp_flood((select list(token_id) from duplicate_vectors)) as f
    inner join vectors as v on f.model = v.model and f.token_id = v.token_id
),

margins as (
    select least(min(mantissa), 127 - max(mantissa)) as margin
    from mantissas
    group by dim
)

select
    list_value(
        count(*) filter (where margin < 10), count(*) filter (where margin < 5)
    ) as n_dims
from margins;
