-- exponent_distance: the largest difference of the exponent fields of two bfloat16
-- rows, over the dimensions.
-- noqa: disable=LT02
create macro exponent_distance(row_a, row_b) as
    steps_apart(exponents_of(row_a), exponents_of(row_b)).linf;

comment on macro exponent_distance is
'the largest difference of two bfloat16 rows'' exponent fields over the dimensions, as
INTEGER';
