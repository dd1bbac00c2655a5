-- Which of the component's vectors are neighbours, one bf16 step apart in one dimension
-- and equal in all others?
-- Asked by 1.11k_connectivity_graph (box 2): those with the most such neighbours.
with faces as (
    select unnest([token_id, other_token_id]) as token_id
    from lattice_neighbors('largest-component', 1)
    where l1 = 1
)

select
    token_id,
    count(*) as n_neighbours
from faces
group by token_id
order by n_neighbours desc, token_id asc
limit 5;
