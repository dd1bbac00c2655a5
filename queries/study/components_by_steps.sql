-- How many steps does it take until the component hangs together?
-- Asked by qwen3/adjacency_relaxation (box 4): connected components where tokens at
-- most so many steps apart in every dimension are joined, wherever two merge.
select
    lattice_steps as steps,
    count(*) as n_merges,
    (sum(count(*)) over (order by lattice_steps desc) - count(*))::integer + 1
        as n_components
from lattice_linkage('largest-component')
where lattice_steps > 0
group by lattice_steps
order by lattice_steps;
