-- exponents_of: the exponent fields of a bfloat16 row: E = (bits >> 7) & 255, which is
-- 127 for values from 1 to 2, 0 for zero and subnormals, 255 for what isn't finite.
-- noqa: disable=LT02
create macro exponents_of(row_values) as
    list_transform(bits_of(row_values), lambda b: ((b >> 7) & 255)::utinyint);

comment on macro exponents_of is
'the exponent field (0 to 255) of each value of a bfloat16 row, as UTINYINT[]';
