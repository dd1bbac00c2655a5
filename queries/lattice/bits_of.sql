-- bits_of: the bit patterns of bfloat16 values, as unsigned integers: sign, 8 bits of
-- exponent, 7 of mantissa. A bfloat16 is the upper half of a FLOAT, whose lower half is
-- then zero; what isn't one is an error, not rounded.
-- noqa: disable=LT02
create macro bits_of(row_values) as
    list_transform(
        row_values,
        lambda number: case
            when
                try_cast(number as float)::double = number::double
                and (try_cast(number as float)::bit::integer & 65535) = 0
                then ((number::float::bit::integer >> 16) & 65535)::usmallint
            when number is null then null
            when isnan(number::double) then 32704::usmallint
            else
                error(
                    number::varchar || ' is no bfloat16 value, and so not on its'
                    || ' lattice; bf16_list(…) rounds a list to ones first'
                )
        end
    );

comment on macro bits_of is
'the bits of each value of a bfloat16 row, as USMALLINT[]; an error where a value isn''t one';
