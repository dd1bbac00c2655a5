-- neighborhood_components: connected components of an exponent neighbourhood's rows,
-- where those are joined that are exactly one own last bit apart.
-- Grain: one row per component; a single row is one.
-- noqa: disable=LT02
create macro neighborhood_components(most_apart) as table
with runs as materialized (
    select
        model,
        token_id,
        n_tokens,
        sum(case when own_ulps = 1 then 0 else 1 end) over (
            partition by model order by linkage_place rows unbounded preceding
        ) as run
    from neighborhood_linkage(most_apart)
),

edges as (
    select
        r.model,
        r.run,
        count(*) as n_edges
    from neighborhood_pairs(most_apart) as p
    inner join runs as r on p.model = r.model and p.token_id = r.token_id
    where p.own_ulps = 1
    group by r.model, r.run
)

select
    r.model,
    min(r.token_id) as component,
    count(*) as n_vectors,
    sum(r.n_tokens)::bigint as n_tokens,
    coalesce(any_value(e.n_edges), 0) as n_edges
from runs as r
left join edges as e on r.model = e.model and r.run = e.run
group by r.model, r.run
order by r.model asc, n_vectors desc, component asc;

comment on macro table neighborhood_components is
'components of neighborhood_vectors, joined where exactly one own last bit apart: vectors,
tokens and edges in each';
