-- bf16_row: a row of `vectors` rounded to bfloat16, ties to even, as FLOAT[].
-- Rows of a bf16 model are that already. For the others, Veltkamp's splitting by
-- 2^45 + 1 keeps 8 of DOUBLE's 53 significant bits: rounding to nearest, and for a
-- value of 24 bits or fewer, as FLOAT has, ties to even, because every product's
-- last kept bit is then even (Boldo, "Pitfalls of a full floating-point proof:
-- Veltkamp and Dekker", 2006, on the general case). Under 2^-126 bfloat16 is a
-- grid of step 2^-133, which adding and taking away 1.5 * 2^52 steps rounds to; from
-- (2 - 2^-8) * 2^127 on it is infinite.
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

-- bf16_unit_row: u = bf16(w16 / n) per element (notebook 1.4a), for w16 a FLOAT[] and
-- n a FLOAT that hold bf16 values. Give it n as a column: an expression would be
-- computed anew for each element.
-- A quotient of two bf16 is never halfway between two others, and rounding it to
-- FLOAT on the way is innocuous (24 >= 2 * 8 bits; Figueroa, 1995). A quotient under
-- 2^-126 keeps more bits than bfloat16 would: at most 2^-134 each, which matters only
-- where every product of the sum that follows is as small.
create macro bf16_unit_row(row_values, row_norm) as
    case
        when row_norm > 0
            then list_transform(
                list_transform(row_values, lambda w: w / row_norm),
                lambda q: q * 65537::float - (q * 65537::float - q)
            )
    end;

comment on macro bf16_unit_row is
'a bfloat16 row divided by its bfloat16 norm, each quotient rounded to bfloat16; NULL at
norm 0';

create macro bf16_list(numbers) as
    list_transform(numbers, lambda number: bf16(number))::double[];

comment on macro bf16_list is
'each number of a list rounded to the nearest bfloat16, as DOUBLE[]';

create macro length_of(numbers) as
    sqrt(list_inner_product(numbers::double[], numbers::double[]));

comment on macro length_of is 'the L2 norm of a list of numbers, in DOUBLE';

create macro finite_or_null(number) as
    case when isfinite(number) then number + 0.0::double end;

comment on macro finite_or_null is
'the number where it is finite, else NULL: a row with a NaN or an infinity has no score';

create macro dot_of(row_values, numbers) as
    finite_or_null(list_inner_product(row_values::double[], numbers));

comment on macro dot_of is
'the dot product of a FLOAT[] and a DOUBLE[], in DOUBLE; NULL where it isn''t finite';
