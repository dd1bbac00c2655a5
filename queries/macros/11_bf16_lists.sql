-- bf16_row: a row of `vectors` rounded to bfloat16, ties to even, as DOUBLE[].
-- Rows of a bf16 model are that already. For the others, Veltkamp's splitting by
-- 2^45 + 1 keeps 8 of DOUBLE's 53 significant bits: rounding to nearest, and for a
-- value of 24 bits or fewer, as FLOAT has, ties to even, because every product's
-- last kept bit is then even (Boldo, "Pitfalls of a full floating-point proof:
-- Veltkamp and Dekker", 2006, on the general case). Under 2^-126 bfloat16 is a
-- grid of step 2^-133, which adding and taking away 1.5 * 2^52 steps rounds to.
create macro bf16_row(row_values, storage) as
    case
        when storage = 'bf16' then row_values::double[]
        else list_transform(
            row_values::double[],
            lambda w: case
                when abs(w) < 1.1754943508222875e-38::double
                    then w + 6.203854594147708e-25::double - 6.203854594147708e-25::double
                else w * 35184372088833.0::double - (w * 35184372088833.0::double - w)
            end
        )
    end;

comment on macro bf16_row is
'a row of vectors, of a model with this dtype, rounded to bfloat16, as DOUBLE[]';

-- bf16_unit_row: u = bf16(w16 / n) per element, for bf16 w16 and n (notebook 1.4a).
-- A quotient of two bf16 is never halfway between two others, and rounding it to
-- FLOAT on the way is innocuous (24 >= 2 * 8 bits; Figueroa, 1995). A quotient under
-- 2^-126 keeps more bits than bfloat16 would: at most 2^-134 each, far below the
-- rounding of the sum that follows.
create macro bf16_unit_row(row_values, row_norm) as
    list_transform(
        list_transform(row_values::float[], lambda w: w / row_norm::float),
        lambda q: q * 65537::float - (q * 65537::float - q)
    );

comment on macro bf16_unit_row is
'a bfloat16 row divided by its bfloat16 norm, each quotient rounded to bfloat16';

create macro bf16_list(numbers) as
    list_transform(numbers::double[], lambda number: bf16(number))::double[];

comment on macro bf16_list is
'each number of a list rounded to the nearest bfloat16, as DOUBLE[]';

create macro length_of(numbers) as
    sqrt(list_inner_product(numbers::double[], numbers::double[]));

comment on macro length_of is 'the L2 norm of a list of numbers, in DOUBLE';

create macro finite_or_null(number) as
    case when isfinite(number) then number + 0.0::double end;

comment on macro finite_or_null is
'the number where it is finite, else NULL: a row with a NaN or an infinity has no score';
