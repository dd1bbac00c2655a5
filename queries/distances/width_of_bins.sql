-- width_of_bins: a width that bins can have; an error where it can't be one.
-- noqa: disable=LT02
create macro width_of_bins(width) as
    case
        when coalesce(width::double > 0 and isfinite(width::double), false)
            then width::double
        else
            error(
                'width: ' || coalesce(width::varchar, 'NULL')
                || ' is none; give a number above 0'
            )
    end;

comment on macro width_of_bins is
'the width itself, or an error where it isn''t a number above 0';
