-- causal_distances: how far a cluster's tokens are from any vector h under (C + eI)^-1,
-- for any e, of any model.
-- Grain: one row per token of the cluster whose row is finite, in each model in view
-- that has a cluster of the name, and rows as long as h.
-- The length of the whitened difference, (w - h) . PC / sqrt(eigenvalue + e), by the
-- difference, so that nothing cancels near h: within about 1e-15 times the condition
-- number (largest + e) / (least + e), relatively. Takes n_dims^2 multiplications for
-- each different vector: so past 5,000 of them, it is an error.
-- noqa: disable=LT02
create macro causal_distances(cluster_name, h, with_epsilon) as table
with given as materialized (
    select
        vector_in_view(h) as numbers,
        cluster_named(cluster_name) as asked_for,
        case
            when coalesce(with_epsilon::double between 1e-300 and 1e300, false)
                then with_epsilon::double
            else
                error(
                    'causal_distances: epsilon is '
                    || coalesce(with_epsilon::varchar, 'NULL')
                    || ', and must be above 0: models.causal_epsilon, or 1e-6, say'
                )
        end as epsilon
),

inside as materialized (
    select
        c.model,
        c.token_id,
        f.duplicate_of
    from cluster_members as c
    inner join given as g on c.cluster = g.asked_for
    inner join features as f on c.model = f.model and c.token_id = f.token_id
    inner join models as m on c.model = m.model and m.n_dims = len(g.numbers)
    where f.norm is not null
),

apart as materialized (
    select
        model,
        duplicate_of,
        case
            when count(*) over (partition by model) <= 5000 then duplicate_of
            else
                error(
                    model || ': the cluster has ' || count(*) over (partition by model)
                    || ' different vectors, and 5000 is the most that'
                    || ' causal_distances measures;'
                    || ' causal_distances_to measures all'
                )
        end as shown_by
    from inside
    group by model, duplicate_of
),

differences as materialized (
    select
        v.model,
        v.token_id,
        list_transform(
            list_zip(v.vector::double[], g.numbers), lambda pair: pair[1] - pair[2]
        ) as difference
    from vectors_of((
        select list(struct_pack(model := model, token_id := shown_by)) from apart
    )) as v
    cross join given as g
),

scaled as materialized (
    select
        p.model,
        p.vector,
        p.eigenvalue + g.epsilon as variance
    from principal_components as p
    cross join given as g
    where p.model in (select model from apart)
),

measured as (
    select
        d.model,
        d.token_id,
        sqrt(sum(pow(list_inner_product(s.vector, d.difference), 2) / s.variance))
            as causal_distance
    from differences as d
    inner join scaled as s on d.model = s.model
    group by d.model, d.token_id
)

select
    i.model,
    i.token_id,
    t.text,
    d.causal_distance
from inside as i
inner join measured as d on i.model = d.model and i.duplicate_of = d.token_id
inner join tokens as t on i.model = t.model and i.token_id = t.token_id
order by i.model, d.causal_distance, i.token_id;

comment on macro table causal_distances is
'the distances of a cluster''s tokens from a vector h under (C + εI)⁻¹, nearest first, for
any ε: from causal_distances(''spike'', centroid_of(''spike''), 1e-6)';
