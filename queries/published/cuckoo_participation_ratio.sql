with duplicates as (
    select list(token_id) as ids
    from features
    where duplicate_count > 1
),

centre as materialized (
    select mean_of(ids) as vector
    from duplicates
),

points as (
    select
        list(
            struct_pack(
                model := v.model, id := v.token_id, numbers := v.vector, n_tokens := 1
            )
        ) as all_points
    from distances_to((from centre)) as d
    inner join vectors as v on d.model = v.model and d.token_id = v.token_id
    where d.distance > 1e-4 and d.distance <= 1e-3
)

select participation_ratio_of((from points)) as participation_ratio;
