-- lattice_of: the coordinates of a row on the bfloat16 lattice. Every finite bfloat16
-- is a whole number on one ordered line: its bits b as a signed integer where b >= 0,
-- else -32768 - b. So -0.0 and 0.0 are one point, neighbours differ by 1, and order is
-- that of the values. Finite ones lie from -32639 to 32639; 32640 is infinity.
-- The list of one list holds the coordinates, so that they are computed once.
-- noqa: disable=LT02
create macro lattice_of(row_values) as
    list_transform(
        [
            list_transform(
                bits_of(row_values),
                lambda b: case
                    when b < 32768 then b::integer else 32768 - b::integer
                end::smallint
            )
        ],
        lambda places: case
            when list_max(places) < 32640 and list_min(places) > -32640 then places
        end
    )[1];

comment on macro lattice_of is
'the coordinates of a bfloat16 row on the ordered line of all bfloat16 values, on which
neighbours differ by 1 (-0.0 is 0.0), as SMALLINT[]; NULL where the row isn''t finite';
