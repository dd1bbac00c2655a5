-- steps_between: the distances of two bfloat16 rows in lattice steps: {linf, l1}, the
-- largest over the dimensions, and the sum. NULL where a row isn't finite.
-- noqa: disable=LT02
create macro steps_between(row_a, row_b) as
    steps_apart(lattice_of(row_a), lattice_of(row_b));

comment on macro steps_between is
'{linf, l1} of two bfloat16 rows: how many lattice steps they are apart at most in a
dimension, and in all dimensions together; NULL where one isn''t finite';
