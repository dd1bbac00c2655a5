-- dot_of: a dot product, summed in DOUBLE.
-- noqa: disable=LT02
create macro dot_of(row_values, numbers) as
    finite_or_null(list_inner_product(row_values::double[], numbers));

comment on macro dot_of is
'the dot product of a FLOAT[] and a DOUBLE[], in DOUBLE; NULL where it isn''t finite';
