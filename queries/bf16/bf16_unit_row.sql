-- bf16_unit_row: u = bf16(w16 / n) per element (notebook 1.4a), for w16 a FLOAT[] and
-- n a FLOAT that hold bf16 values. Give it n as a column: an expression would be
-- computed anew for each element.
-- A quotient of two bf16 is never halfway between two others, and rounding it to
-- FLOAT on the way is innocuous (24 >= 2 * 8 bits; Figueroa, 1995). A quotient under
-- 2^-126 keeps more bits than bfloat16 would: at most 2^-134 each, which matters only
-- where every product of the sum that follows is as small.
-- noqa: disable=LT02
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
