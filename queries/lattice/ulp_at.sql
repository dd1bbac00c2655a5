-- ulp_at: what the last bit of a number is worth in bfloat16: 2^(max(E, 1) - 134), with
-- E the exponent field of the bfloat16 nearest to it; 2^-133 at 0 and for subnormals.
-- noqa: disable=LT02
create macro ulp_at(number) as
    case
        when number is null or not isfinite(bf16(number)) then null
        when bf16(number) = 0 then 9.183549615799121e-41::double
        else bf16_step(bf16(number)::double)
    end;

comment on macro ulp_at is
'what the last bit of a number''s bfloat16 is worth, as DOUBLE; NULL where it isn''t finite';
