-- How many exponent steps, at most in a dimension, are the component's tokens from its
-- centre, the row that most of them share?
-- Asked by qwen3/frozen_smoke/01_detection (box 4), there of all tokens.
with apart as (
    select
        f.duplicate_count as n_tokens,
        exponent_distance(v.vector, first(v.vector) over largest_first) as steps
    from members('largest-component') as f
    inner join vectors as v on f.token_id = v.token_id and f.token_id = f.duplicate_of
    window largest_first as (order by f.duplicate_count desc, f.token_id asc)
)

select
    steps,
    sum(n_tokens)::integer as n_tokens,
    count(*) as n_vectors
from apart
group by steps
order by steps;
