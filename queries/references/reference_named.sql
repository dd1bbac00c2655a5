-- reference_named: the name of a reference that is in view; an error where there is
-- none, so that a model that was never seen from it isn't taken for an empty one.
create macro reference_named(reference_name) as (
    with asked as (
        select reference_name::varchar as asked_for
    ),

    found as (
        select
            a.asked_for,
            count(r.reference) as n_models
        from asked as a
        left join reference_vectors as r on a.asked_for = r.reference
        group by a.asked_for
    )

    select
        case
            when n_models > 0 then asked_for
            else
                error(
                    'no model in view'
                    || coalesce(
                        ' (the variable model is ' || getvariable('model') || ')',
                        ''
                    )
                    || ' has a reference '
                    || coalesce('''' || asked_for || '''', 'NULL')
                    || '; `from reference_vectors` lists them, and '
                    || '`token-catalog add-references` adds some'
                )
        end
    from found
);

comment on macro reference_named is
'the name of a reference, or an error where no model in view has it';
