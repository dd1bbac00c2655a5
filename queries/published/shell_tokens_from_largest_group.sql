-- A token on an edge is in the shell below it; those at distance 0 are in none.
with edges as (
    select
        edge as below,
        lead(edge, 1, 'infinity'::double) over (order by edge) as above
    from unnest([
        0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2,
        0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5
    ]::double[]) as u (edge)
),

largest as materialized (
    select v.vector
    from features as f
    inner join vectors as v on f.model = v.model and f.token_id = v.token_id
    where f.token_id = f.duplicate_of
    order by f.duplicate_count desc, f.token_id asc
    limit 1
),

shells as (
    select
        e.below,
        count(d.token_id) as n_tokens
    from edges as e
    left join distances_to((from largest)) as d
        on e.below < d.distance and e.above >= d.distance
    group by e.below
)

select list(n_tokens order by below) as shell_tokens
from shells;
