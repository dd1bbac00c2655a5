-- steps_moved: the largest difference of two rows' coordinates on the lattice, as
-- steps_between has it, in a fraction of the time: for finite rows of one length that
-- are known to be of bfloat16 values, which it doesn't check.
-- The bits of |x| are the upper half of a FLOAT's; sign(-0.0) is 0. Most of the time
-- goes into those bits, so they are left alone where the values are equal.
-- noqa: disable=LT02
create macro steps_moved(row_a, row_b) as
    list_max([
        case
            when pair[1] = pair[2] then 0
            else
                abs(
                    sign(pair[1]) * (abs(pair[1])::bit::integer >> 16)
                    - sign(pair[2]) * (abs(pair[2])::bit::integer >> 16)
                )
        end
        for pair in list_zip(row_a, row_b)
    ]);

comment on macro steps_moved is
'the largest lattice steps between two finite bfloat16 rows, FLOAT[] of one length, over the
dimensions: steps_between(…).linf, quicker and unchecked';
