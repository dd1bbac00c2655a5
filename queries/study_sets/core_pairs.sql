-- core_pairs: the pairs of rows of the largest component's core, those whose values are
-- all within 3 * 2^-16 of the largest duplicate group's, and their distance on the
-- lattice of bfloat16: all steps together. 1: they share a face, one step in one
-- dimension.
-- Grain: one row per pair of rows, token_id < other_token_id.
-- noqa: disable=LT02
create macro core_pairs() as table
with points as materialized (
    select
        list(
            struct_pack(model := model, id := token_id, numbers := lattice_of(vector))
        ) as in_steps
    from component_vectors()
    where linf <= 3 * pow(2, -16)
)

select
    model,
    id as token_id,
    other_id as other_token_id,
    l1::bigint as steps
from pairs_of_points((select in_steps from points));

comment on macro table core_pairs is
'the pairs of the largest component''s rows within 3 * 2^-16 of the largest duplicate group''s
in every dimension: how many lattice steps apart, all dimensions together';
