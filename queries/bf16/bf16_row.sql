-- bf16_row: a row of `vectors` rounded to bfloat16, ties to even, as FLOAT[].
-- Rows of a bf16 model are that already. For the others, Veltkamp's splitting by
-- 2^45 + 1 keeps 8 of DOUBLE's 53 significant bits: rounding to nearest, and for a
-- value of 24 bits or fewer, as FLOAT has, ties to even, because every product's
-- last kept bit is then even (Boldo, "Pitfalls of a full floating-point proof:
-- Veltkamp and Dekker", 2006, on the general case). Under 2^-126 bfloat16 is a
-- grid of step 2^-133, which adding and taking away 1.5 * 2^52 steps rounds to; from
-- (2 - 2^-8) * 2^127 on it is infinite.
-- noqa: disable=LT02
create macro bf16_row(row_values, storage) as
    case
        when storage = 'bf16' then row_values
        else list_transform(
            row_values::double[],
            lambda w: case
                when abs(w) < 1.1754943508222875e-38::double
                    then
                        w + 6.203854594147708e-25::double
                        - 6.203854594147708e-25::double
                when abs(w) >= 3.39617752923046e38::double
                    then sign(w) * 'inf'::double
                else w * 35184372088833.0::double - (w * 35184372088833.0::double - w)
            end
        )::float[]
    end;

comment on macro bf16_row is
'a row of vectors, of a model with this dtype, rounded to bfloat16, as FLOAT[]';
