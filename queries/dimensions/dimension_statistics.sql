-- dimension_statistics: what the values of a cluster's finite tokens are, dimension by
-- dimension; of the whole matrix where cluster_name is NULL: then it is `dimensions`.
-- Grain: one row per dimension, in each model in view that has a cluster of the name.
-- Of equal rows one is read: the mean and the standard deviation (1/N) count it as
-- often as it is in the cluster; their sums are compensated (Kahan's), and the second
-- is of differences from the first. -0.0 is 0.0.
-- noqa: disable=LT02
create macro dimension_statistics(cluster_name) as table
with given as materialized (
    select cluster_name::varchar as asked_for
),

asked as materialized (
    select cluster_named(g.asked_for) as asked_for
    from given as g
    where g.asked_for is not null
),

inside as materialized (
    select
        c.model,
        f.duplicate_of,
        min(c.token_id) as token_id,
        count(*) as n_tokens
    from cluster_members as c
    inner join asked as a on c.cluster = a.asked_for
    inner join features as f on c.model = f.model and c.token_id = f.token_id
    group by c.model, f.duplicate_of
),

different as materialized (
    select
        v.model,
        i.n_tokens,
        v.vector
    from vectors_of((
        select list(struct_pack(model := model, token_id := token_id)) from inside
    )) as v
    inner join inside as i on v.model = i.model and v.token_id = i.token_id
    -- The second is there for the optimizer, which leaves out all of this for a NULL.
    where i.duplicate_of is not null and cluster_name::varchar is not null
),

parts as not materialized (
    select
        model,
        n_tokens,
        unnest(vector)::double + 0.0::double as part,
        generate_subscripts(vector, 1)::integer - 1 as place
    from different
),

summed as materialized (
    select
        model,
        place,
        min(part) as least,
        max(part) as most,
        fsum(n_tokens * part) / sum(n_tokens) as mean,
        sum(n_tokens) as n_tokens,
        count(distinct part)::integer as n_values
    from parts
    group by model, place
),

spread as not materialized (
    select
        p.model,
        p.place,
        sqrt(
            fsum(p.n_tokens * (p.part - s.mean) * (p.part - s.mean))
            / any_value(s.n_tokens)
        ) as std
    from parts as p
    inner join summed as s on p.model = s.model and p.place = s.place
    group by p.model, p.place
),

ends as not materialized (
    select
        model,
        place,
        lattice_of([least, most]::float[]) as points
    from summed
    where dtype_of(model) = 'bf16'
),

-- A model in view that has the cluster, but no row of it, is an error.
having_it as materialized (
    select distinct model from inside
),

told as (
    select
        h.model,
        coalesce(
            s.place,
            error(
                'dimension_statistics: the cluster has no finite row in vectors of '
                || h.model || ' (a model ingested with --no-vectors has none)'
            )
        ) as dim,
        s.least,
        s.most,
        s.mean,
        d.std,
        s.n_values,
        case when dtype_of(h.model) = 'bf16' then s.n_values end as n_lattice,
        e.points[2]::integer - e.points[1]::integer as extent_steps
    from having_it as h
    left join summed as s on h.model = s.model
    left join spread as d on s.model = d.model and s.place = d.place
    left join ends as e on s.model = e.model and s.place = e.place
    union all
    select
        w.model,
        w.dim,
        w.least,
        w.most,
        w.mean,
        w.std,
        w.n_values,
        w.n_lattice,
        w.extent_steps
    from dimensions as w
    inner join given as g on g.asked_for is null
)

select
    model,
    dim,
    least,
    most,
    mean,
    std,
    n_values,
    n_lattice,
    extent_steps
from told
order by model, dim;

comment on macro table dimension_statistics is
'the values of a cluster''s finite tokens in each dimension: least, most, mean, std, how many
different ones and lattice points, lattice steps from least to most; of all tokens where
cluster_name is NULL';
