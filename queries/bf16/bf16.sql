-- bf16: a number rounded to the nearest bfloat16, ties to even, as FLOAT.
-- One rounding, from DOUBLE; -0.0 becomes 0.0; from (2 - 2^-8) * 2^127 on, infinity.
-- Adding 1.5 * 2^52 to a DOUBLE under 2^51 and taking it away again rounds it to a
-- whole number, ties to even: here the number in units of its last bf16 bit.
-- noqa: disable=LT02
create macro bf16(number) as
    case
        when number is null then null
        when isnan(number::double) then 'nan'::float
        when abs(number::double) >= 3.39617752923046e38
            then sign(number::double)::float * 'inf'::float
        when number::double = 0 then 0::float
        else
            (
                (
                    number::double / bf16_step(number::double)
                    + 6755399441055744.0::double
                    - 6755399441055744.0::double
                ) * bf16_step(number::double) + 0.0::double
            )::float
    end;

comment on macro bf16 is
'a number rounded to the nearest bfloat16, ties to even, as FLOAT (one rounding; -0.0 is 0.0);
the number is written out several times, so it must not be random()';
