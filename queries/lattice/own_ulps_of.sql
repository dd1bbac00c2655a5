-- own_ulps_of: each value of a bfloat16 row in units of its own last bit:
-- x / 2^(max(E, 1) - 134), with E its exponent field. A whole number, from 128 to 255
-- for a normal number, so that a step across a boundary of exponents counts 127 here,
-- and 1 on the lattice (lattice_of). It is the signed mantissa with its leading bit.
-- noqa: disable=LT02
create macro own_ulps_of(row_values) as
    list_transform(
        [
            list_transform(
                bits_of(row_values),
                lambda b: case
                    when (b & 32640) = 32640 then null
                    else
                        (case when b < 32768 then 1 else -1 end)
                        * (
                            (b & 127)::integer
                            + case when (b & 32640) > 0 then 128 else 0 end
                        )
                end::double
            )
        ],
        lambda ulps: case when len(ulps) = list_count(ulps) then ulps end
    )[1];

comment on macro own_ulps_of is
'each value of a bfloat16 row in units of its own last bit, x / 2^(max(E, 1) - 134) with E
its exponent field, as DOUBLE[]; NULL where the row isn''t finite';
