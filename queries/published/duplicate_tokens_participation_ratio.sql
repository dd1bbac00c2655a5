with points as (
    select
        list(
            struct_pack(
                model := model, id := token_id, numbers := vector, n_tokens := n_tokens
            )
        ) as all_points
    from duplicate_vectors
)

select participation_ratio_of((from points)) as participation_ratio;
