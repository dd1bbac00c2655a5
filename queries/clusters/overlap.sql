-- overlap: two clusters, token by token (notebook 1.5c).
-- Grain: one row per token in either, in each model in view that has both; `side` says
-- in which.
-- noqa: disable=LT02
create macro overlap(cluster_name, other_name) as table
with asked as materialized (
    select
        cluster_named(cluster_name) as asked_for,
        cluster_named(other_name) as beside
),

inside as materialized (
    select
        c.model,
        c.token_id,
        c.cluster = a.asked_for as in_first,
        c.cluster = a.beside as in_second
    from cluster_members as c
    inner join asked as a on c.cluster = a.asked_for or c.cluster = a.beside
),

having_both as (
    select model
    from inside
    group by model
    having bool_or(in_first) and bool_or(in_second)
),

compared as materialized (
    select
        unnest(
            coalesce(
                list(model),
                error('no model in view has both clusters; `from clusters` lists them')
            )
        ) as model
    from having_both
),

sides as (
    select
        i.model,
        i.token_id,
        bool_or(i.in_first) as in_first,
        bool_or(i.in_second) as in_second
    from inside as i
    inner join compared as b on i.model = b.model
    group by i.model, i.token_id
)

select
    s.model,
    s.token_id,
    t.text,
    case
        when s.in_first and s.in_second then 'both'
        when s.in_first then 'first only'
        else 'second only'
    end as side
from sides as s
inner join tokens as t on s.model = t.model and s.token_id = t.token_id
order by s.model, s.token_id;

comment on macro table overlap is
'the tokens of two clusters: side is both, first only or second only';
