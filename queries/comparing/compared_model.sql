-- compared_model: one matrix that is to be compared, by its key; an error where there
-- is no such model in view, or the name has two. In an empty catalog, NULL.
-- noqa: disable=LT02
create macro compared_model(model_key) as (
    with asked as (
        select model_key::varchar as asked_for
    ),

    found as (
        select
            a.asked_for,
            count(*) as n_models,
            count(*) filter (where m.model = a.asked_for) as n_exact,
            string_agg(m.model, ', ' order by m.model)
                filter (where m.name = a.asked_for) as of_that_name
        from models as m
        cross join asked as a
        where model_in_view(m.model)
        group by a.asked_for
    )

    select
        case
            when n_exact > 0 then asked_for
            when of_that_name is not null
                then
                    error(
                        '''' || asked_for || ''' is a name; compare a matrix of it: '
                        || of_that_name
                    )
            else
                error(
                    'no model in view'
                    || coalesce(
                        ' (the variable model is ' || getvariable('model') || ')',
                        ''
                    )
                    || ' is called ' || coalesce('''' || asked_for || '''', 'NULL')
                    || '; `from models` lists them'
                )
        end
    from found
);

comment on macro compared_model is
'the key of a model, or an error where none in view has it, or it is a name of two';
