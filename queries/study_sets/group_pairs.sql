-- group_pairs: how far the rows of the duplicate groups are from each other: by values,
-- and by their bits as unsigned integers.
-- Grain: one row per pair of duplicate_vectors, group_rank < other_rank.
-- noqa: disable=LT02
create macro group_pairs() as table
with points as materialized (
    select
        list(
            struct_pack(model := model, id := group_rank, numbers := bits_of(vector))
        ) as in_bits,
        list(
            struct_pack(model := model, id := group_rank, numbers := vector::double[])
        ) as in_values
    from duplicate_vectors
)

select
    v.model,
    v.id as group_rank,
    v.other_id as other_rank,
    v.euclidean,
    v.linf,
    b.linf::integer as bits_linf,
    b.l1::bigint as bits_l1,
    b.n_different
from pairs_of_points((select in_values from points)) as v
inner join pairs_of_points((select in_bits from points)) as b
    on v.model = b.model and v.id = b.id and v.other_id = b.other_id;

comment on macro table group_pairs is
'the pairs of duplicate_vectors: euclidean and linf of values, the largest difference of raw
bits (bits_linf), their sum (bits_l1), and in how many dimensions they differ';
