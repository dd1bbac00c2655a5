-- How many bf16 steps are the other groups' rows from that of the largest group?
-- Asked by qwen3/frozen_smoke/03_topology (box 4): L∞, the most in a dimension, and L1,
-- in all dimensions together, on the ordered line of all bf16 values.
select
    g.duplicate_of,
    g.n_tokens,
    steps_between(v.vector, first(v.vector) over largest_first) as steps
from duplicate_groups as g
inner join vectors as v on g.duplicate_of = v.token_id
window largest_first as (order by g.n_tokens desc, g.duplicate_of asc)
order by g.n_tokens desc, g.duplicate_of asc;
