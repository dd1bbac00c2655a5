-- causal_distances_to: how far every token is from any vector h under the inverse
-- covariance (C + eI)^-1 that the model was ingested with: a recipe's [causal].
-- Grain: one row per token of each model in view whose rows are as long as h.
-- |w - h|^2 = causal_norm^2 - 2 (w - mean) . g + |h - mean|^2, where g is h - mean
-- under (C + eI)^-1, made once of the principal components: so that W is read once,
-- for one product a row. Near h the terms cancel: the square is off by some 1e-15 of
-- models.causal_condition_number times the largest of them; causal_distances is right
-- there, too. NULL where the row isn't finite; 0 where it is h.
-- Every step over vectors must stay inlined, and above no filter or join of the rows:
-- see point_at_each.
-- noqa: disable=LT02
create macro causal_distances_to(h) as table
with given as materialized (
    select vector_in_view(h) as numbers
),

asked as materialized (
    select
        m.model,
        coalesce(
            m.causal_epsilon,
            error(
                m.model || ': was ingested without a [causal] in its recipe;'
                || ' ingest it again with one, or ask causal_distances of a cluster;'
                || ' set variable model = ''NAME'' leaves others out'
            )
        ) as epsilon
    from models as m
    inner join given as g on m.n_dims = len(g.numbers)
    where model_in_view(m.model)
),

weighted as materialized (
    select
        p.model,
        p.vector,
        p.mean_projection,
        list_inner_product(p.vector, g.numbers) - p.mean_projection as coordinate,
        coordinate / (p.eigenvalue + a.epsilon) as weight
    from principal_components as p
    inner join asked as a on p.model = a.model
    cross join given as g
),

parts as not materialized (
    select
        model,
        weight,
        unnest(vector) as part,
        generate_subscripts(vector, 1) as place
    from weighted
),

gradient_parts as (
    select
        model,
        place,
        sum(part * weight) as number
    from parts
    group by model, place
),

gradients as (
    select
        model,
        list(number order by place) as gradient
    from gradient_parts
    group by model
),

squares as (
    select
        model,
        sum(weight * mean_projection) as of_mean,
        sum(weight * coordinate) as of_h
    from weighted
    group by model
),

pointing as materialized (
    select
        q.model as of_model,
        q.of_mean,
        q.of_h,
        r.gradient
    from squares as q
    inner join gradients as r on q.model = r.model
),

measured as not materialized (
    select
        v.model,
        v.token_id,
        p.of_model,
        p.of_h,
        case
            when p.of_model = v.model
                then list_inner_product(v.vector::double[], p.gradient) - p.of_mean
        end as product,
        case
            when p.of_model = v.model then v.vector::double[] = g.numbers
        end as is_h
    from vectors as v
    cross join pointing as p
    cross join given as g
)

select
    d.model,
    d.token_id,
    t.text,
    case
        when f.causal_norm is null then null
        when d.is_h then 0
        else sqrt(greatest(f.causal_norm * f.causal_norm - 2 * d.product + d.of_h, 0))
    end as causal_distance
from measured as d
inner join tokens as t on d.model = t.model and d.token_id = t.token_id
inner join features as f on d.model = f.model and d.token_id = f.token_id
inner join models as m on d.model = m.model and d.of_model = m.model;

comment on macro table causal_distances_to is
'the distance of every token from a vector h under (C + εI)⁻¹, of models whose recipe has
a [causal]: from causal_distances_to([0.1, …]); near h, causal_distances is more accurate';
