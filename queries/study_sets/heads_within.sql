-- heads_within: whether two heads, as vector_heads has them, are within so many own
-- last bits in each value. True where rows are as near; seldom, where they aren't.
-- noqa: disable=LT02
create macro heads_within(head_a, head_b, most_ulps) as
    coalesce(abs(head_a[1] - head_b[1]) <= most_ulps, true)
    and coalesce(abs(head_a[2] - head_b[2]) <= most_ulps, true)
    and coalesce(abs(head_a[3] - head_b[3]) <= most_ulps, true)
    and coalesce(abs(head_a[4] - head_b[4]) <= most_ulps, true)
    and coalesce(abs(head_a[5] - head_b[5]) <= most_ulps, true)
    and coalesce(abs(head_a[6] - head_b[6]) <= most_ulps, true)
    and coalesce(abs(head_a[7] - head_b[7]) <= most_ulps, true)
    and coalesce(abs(head_a[8] - head_b[8]) <= most_ulps, true);

comment on macro heads_within is
'whether the first 8 values of two rows, from vector_heads, are within so many own last bits';
