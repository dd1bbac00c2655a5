-- length_of: the L2 norm of a list of numbers, summed in DOUBLE.
-- noqa: disable=LT02
create macro length_of(numbers) as
    sqrt(list_inner_product(numbers::double[], numbers::double[]));

comment on macro length_of is 'the L2 norm of a list of numbers, in DOUBLE';
