-- How is the component packed around its centre, the row that most of its tokens share?
-- Asked by 1.11h_packing_density_analysis (box 2), in units of one ulp for all
-- dimensions: here shells of L∞ in bf16 steps.
with apart as (
    select
        f.duplicate_count as n_tokens,
        steps_between(v.vector, first(v.vector) over largest_first).linf as steps
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
