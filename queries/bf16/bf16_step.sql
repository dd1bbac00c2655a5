-- bf16_step: the distance between neighbouring bfloat16 values at a number, which is
-- what its last bf16 bit is worth: 2^(exponent - 7), or 2^-133 for subnormals.
-- noqa: disable=LT02
create macro bf16_step(number) as
    pow(2, greatest(floor(log2(abs(number))), -126) - 7);

comment on macro bf16_step is
'the distance between neighbouring bfloat16 values at a number that isn''t 0';
