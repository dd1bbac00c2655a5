-- bf16_list: a list of numbers, each rounded to the nearest bfloat16 by bf16.
-- noqa: disable=LT02
create macro bf16_list(numbers) as
    list_transform(numbers, lambda number: bf16(number))::double[];

comment on macro bf16_list is
'each number of a list rounded to the nearest bfloat16, as DOUBLE[]';
