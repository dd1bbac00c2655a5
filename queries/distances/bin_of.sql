-- bin_of: which of the intervals [k * width, (k + 1) * width) a number is in, as DOUBLE
-- computes their bounds; NULL of NULL, an error where k is past INTEGER.
-- noqa: disable=LT02
create macro bin_of(number, width) as
    case
        when abs(floor(number / width)) >= 2147483647 then
            error(
                'width: ' || width::varchar || ' makes more than 2,147,483,647 bins;'
                || ' give a larger one'
            )
        -- A quotient is rounded: the bounds themselves decide.
        when floor(number / width) * width > number then floor(number / width) - 1
        when (floor(number / width) + 1) * width <= number
            then floor(number / width) + 1
        else floor(number / width)
    end::integer;

comment on macro bin_of is
'k, where a number is in the interval from k * width up to below (k + 1) * width';
