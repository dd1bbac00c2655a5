-- cluster_named: the name of a cluster that is in view; an error where there is none,
-- so that a misspelt one isn't taken for an empty one.
create macro cluster_named(cluster_name) as (
    with asked as (
        select cluster_name::varchar as asked_for
    ),

    found as (
        select
            a.asked_for,
            count(c.token_id) as n_tokens
        from asked as a
        left join cluster_members as c on a.asked_for = c.cluster
        group by a.asked_for
    )

    select
        case
            when n_tokens > 0 then asked_for
            else
                error(
                    'no model in view'
                    || coalesce(
                        ' (the variable model is ' || getvariable('model') || ')',
                        ''
                    )
                    || ' has a cluster '
                    || coalesce('''' || asked_for || '''', 'NULL')
                    || ' with a token in it; `from clusters` lists them'
                )
        end
    from found
);

comment on macro cluster_named is
'the name of a cluster, or an error where no model in view has it';
