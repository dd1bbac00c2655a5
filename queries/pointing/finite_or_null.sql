-- finite_or_null: what makes a score of a row that isn't finite NULL; -0.0 becomes 0.0.
-- noqa: disable=LT02
create macro finite_or_null(number) as
    case when isfinite(number) then number + 0.0::double end;

comment on macro finite_or_null is
'the number where it is finite, else NULL: a row with a NaN or an infinity has no score';
