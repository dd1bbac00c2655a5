-- lattice_pairs: which different vectors of a cluster are within some lattice steps of
-- each other in every dimension, and how many they are apart.
-- Grain: one row per pair of vectors, each known by its lowest token_id in the
-- cluster, token_id < other_token_id.
-- Most pairs that are farther apart show it in one of 8 dimensions: those that tell
-- most of 256 pairs of successive vectors apart. Only the others are compared in all.
-- noqa: disable=LT02
create macro lattice_pairs(cluster_name, most_steps, most_vectors) as table
with asked as materialized (
    select lattice_steps_asked(most_steps) as n_steps
),

points as materialized (
    select
        model,
        token_id,
        vector_number,
        places
    from lattice_vectors(cluster_name, most_vectors)
),

successive as not materialized (
    select
        p.model,
        generate_subscripts(p.places, 1) as dim,
        unnest(p.places) as place,
        unnest(q.places) as next_place
    from points as p
    inner join points as q
        on p.model = q.model and p.vector_number + 1 = q.vector_number
    where p.vector_number % greatest((select count(*) from points) // 256, 1) = 0
),

telling as not materialized (
    select
        s.model,
        s.dim,
        count(*) filter (
            where abs(s.place::integer - s.next_place::integer) > a.n_steps
        ) as n_apart
    from successive as s
    cross join asked as a
    group by s.model, s.dim
),

chosen as materialized (
    select
        model,
        list(dim order by n_apart desc, dim asc)[:8] as dims
    from telling
    group by model
),

sketched as materialized (
    select
        p.model,
        p.vector_number,
        list_transform(c.dims, lambda dim: p.places[dim]::integer) as sketch
    from points as p
    -- A model with few vectors beside one with many may have none in the sample: all of
    -- its pairs are likely.
    left join chosen as c on p.model = c.model
),

likely as not materialized (
    select
        s.vector_number,
        o.vector_number as other_number
    from sketched as s
    cross join asked as a
    inner join sketched as o
        on
            s.model = o.model
            and s.vector_number < o.vector_number
            and coalesce(abs(s.sketch[1] - o.sketch[1]) <= a.n_steps, true)
            and coalesce(abs(s.sketch[2] - o.sketch[2]) <= a.n_steps, true)
            and coalesce(abs(s.sketch[3] - o.sketch[3]) <= a.n_steps, true)
            and coalesce(abs(s.sketch[4] - o.sketch[4]) <= a.n_steps, true)
            and coalesce(abs(s.sketch[5] - o.sketch[5]) <= a.n_steps, true)
            and coalesce(abs(s.sketch[6] - o.sketch[6]) <= a.n_steps, true)
            and coalesce(abs(s.sketch[7] - o.sketch[7]) <= a.n_steps, true)
            and coalesce(abs(s.sketch[8] - o.sketch[8]) <= a.n_steps, true)
),

-- Side by side in rows of their own, coordinates are compared in a third of the time
-- that lambdas over lists take.
compared as not materialized (
    select
        l.vector_number,
        l.other_number,
        unnest(p.places)::integer as place,
        unnest(q.places)::integer as other_place
    from likely as l
    inner join points as p on l.vector_number = p.vector_number
    inner join points as q on l.other_number = q.vector_number
),

apart as not materialized (
    select
        vector_number,
        other_number,
        max(abs(place - other_place)) as linf,
        sum(abs(place - other_place))::bigint as l1
    from compared
    group by vector_number, other_number
)

select
    p.model,
    p.token_id,
    q.token_id as other_token_id,
    d.linf,
    d.l1
from apart as d
cross join asked as a
inner join points as p on d.vector_number = p.vector_number
inner join points as q on d.other_number = q.vector_number
where d.linf <= a.n_steps;

comment on macro table lattice_pairs is
'the pairs of a cluster''s different vectors, of at most so many, that are within some lattice
steps of each other in every dimension: linf and l1 in steps, by lowest token_ids';
