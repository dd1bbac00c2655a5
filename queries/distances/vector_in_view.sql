-- vector_in_view: a vector h that rows of a model in view can be measured from; an
-- error where it isn't finite (or its squares wouldn't be), where no model in view has
-- rows of its length, or where none of those has its rows in `vectors`.
create macro vector_in_view(h) as (
    with asked as materialized (
        select
            h::double[] as numbers,
            list_bool_and(
                list_transform(
                    h::double[], lambda number: coalesce(abs(number) <= 1e100, false)
                )
            ) as is_finite
    ),

    stored as (
        select distinct model from vectors
    ),

    fitting as (
        select
            count(*) as n_in_view,
            string_agg(m.model || ' has ' || m.n_dims, ', ') as lengths,
            any_value(m.model) filter (where m.n_dims = len(a.numbers)) as as_long,
            any_value(s.model) filter (where m.n_dims = len(a.numbers)) as with_rows
        from models as m
        cross join asked as a
        left join stored as s on m.model = s.model
        where model_in_view(m.model)
    )

    select
        case
            when a.numbers is null
                then error('h: NULL is no vector; give a list of n_dims numbers')
            when not coalesce(a.is_finite, true)
                then error('h: has a NULL, a NaN or a number past 1e100')
            when f.n_in_view = 0
                then
                    error(
                        'no model is in view'
                        || coalesce(
                            ' (the variable model is ' || getvariable('model') || ')',
                            ''
                        )
                    )
            when f.as_long is null
                then
                    error(
                        'h: has ' || len(a.numbers)
                        || ' numbers, and no model in view has rows of that length: '
                        || f.lengths
                    )
            when f.with_rows is null
                then
                    error(
                        f.as_long || ': was ingested with --no-vectors, so its rows'
                        || ' aren''t here; ingest it again, with --replace'
                    )
            else a.numbers
        end
    from asked as a
    cross join fitting as f
);

comment on macro vector_in_view is
'a vector as DOUBLE[], or an error where no model in view has rows of its length';
