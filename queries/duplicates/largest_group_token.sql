-- largest_group_token: the lowest token of the largest duplicate group; of groups as
-- large, the lowest. NULL where no two rows are equal.
-- noqa: disable=LT02
create macro largest_group_token() as (
    with largest as (
        select
            model,
            arg_min(duplicate_of, (-n_tokens, duplicate_of)) as token_id
        from duplicate_groups
        group by model
    )

    select
        case
            when count(*) > 1
                then
                    error(
                        'largest_group_token: several models in view have equal rows;'
                        || ' set variable model = ''NAME'' leaves the others out'
                    )
            else any_value(token_id)
        end
    from largest
);

comment on macro largest_group_token is
'the lowest token_id of the largest group of equal rows; NULL where there is none';
