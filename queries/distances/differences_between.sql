-- differences_between: how far two rows are apart in each dimension, in DOUBLE.
-- noqa: disable=LT02
create macro differences_between(own_numbers, other_numbers) as
    list_transform(
        own_numbers, lambda number, place: abs(number - other_numbers[place])
    );

comment on macro differences_between is
'the absolute differences of two DOUBLE[] of one length, dimension by dimension';
