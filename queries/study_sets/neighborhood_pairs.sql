-- neighborhood_pairs: how far the rows of an exponent neighbourhood are from each
-- other, in the study's own conventions: in units of each value's own last bit, so that
-- a step across a boundary of exponents counts 127, and by their bits as unsigned
-- integers.
-- Grain: one row per pair of neighborhood_vectors, token_id < other_token_id.
-- noqa: disable=LT02
create macro neighborhood_pairs(most_apart) as table
with points as materialized (
    select
        list(
            struct_pack(model := model, id := token_id, numbers := own_ulps_of(vector))
        ) as in_own_ulps,
        list(
            struct_pack(model := model, id := token_id, numbers := bits_of(vector))
        ) as in_bits
    from neighborhood_vectors(most_apart)
)

select
    u.model,
    u.id as token_id,
    u.other_id as other_token_id,
    u.linf::integer as own_ulps,
    b.linf::integer as bits_linf,
    b.l1::bigint as bits_l1
from pairs_of_points((select in_own_ulps from points)) as u
inner join pairs_of_points((select in_bits from points)) as b
    on u.model = b.model and u.id = b.id and u.other_id = b.other_id;

comment on macro table neighborhood_pairs is
'the pairs of neighborhood_vectors: the largest difference in own last bits (own_ulps), the
largest of their raw bits (bits_linf), and the sum of these (bits_l1)';
