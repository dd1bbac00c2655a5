with pairs as (
    select
        list(
            struct_pack(
                model := model,
                id := token_id,
                other_id := other_token_id,
                distance := nullif(least(steps, 2), 2)
            )
        ) as edges
    from core_pairs()
)

select count(*) as n_components
from linkage_of((from pairs))
where height is null;
