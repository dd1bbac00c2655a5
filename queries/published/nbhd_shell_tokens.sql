with edges as (
    select
        edge as from_distance,
        lead(edge) over (order by edge) as to_distance
    from unnest([0, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 1e-2]::double[]) as u (edge)
),

shells as (
    select
        e.from_distance,
        coalesce(sum(v.n_tokens), 0)::bigint as n_tokens
    from edges as e
    left join neighborhood_vectors(5) as v
        on e.from_distance <= v.distance and e.to_distance > v.distance
    where e.to_distance is not null
    group by e.from_distance
)

select list(n_tokens order by from_distance) as n_tokens
from shells;
