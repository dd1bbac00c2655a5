-- cluster_crossmatch: a cluster of one model beside the one of that name in another.
-- Grain: one row per token that is in it in either (see matched_tokens). in_a is NULL
-- where model_a has no such token, and in_b where model_b has none; both are false or
-- true otherwise, also where only one of the models has the cluster. An error where
-- neither has.
-- noqa: disable=LT02
create macro cluster_crossmatch(cluster_name, model_a, model_b) as table
with asked as materialized (
    select
        cluster_name::varchar as asked_for,
        compared_model(model_a) as key_a,
        compared_model(model_b) as key_b
),

inside as materialized (
    select
        c.model,
        c.token_id
    from cluster_members as c
    inner join asked as q on c.cluster = q.asked_for
    where c.model = model_a or c.model = model_b
),

found as materialized (
    select
        case
            when count(i.token_id) > 0 or any_value(q.key_a) is null then true
            else
                error(
                    'neither ' || any_value(q.key_a) || ' nor ' || any_value(q.key_b)
                    || ' has a cluster '
                    || coalesce('''' || any_value(q.asked_for) || '''', 'NULL')
                    || ' with a token in it; `from clusters` lists them'
                )
        end as is_there
    from asked as q
    left join inside as i on true
),

sides as (
    select
        m.token_a,
        m.token_b,
        m.text,
        m.ambiguous,
        case when m.token_a is not null then ia.token_id is not null end as in_a,
        case when m.token_b is not null then ib.token_id is not null end as in_b
    from matched_tokens(model_a, model_b) as m
    left join inside as ia on m.token_a = ia.token_id and ia.model = model_a
    left join inside as ib on m.token_b = ib.token_id and ib.model = model_b
)

select
    s.token_a,
    s.token_b,
    s.text,
    s.in_a,
    s.in_b,
    s.ambiguous
from sides as s
inner join found as f on f.is_there
where s.in_a or s.in_b
order by s.token_a nulls last, s.token_b;

comment on macro table cluster_crossmatch is
'the tokens of a cluster in one model or in another, matched as compare_tokens does:
from cluster_crossmatch(''largest-component'', ''base'', ''instruct'') where in_a and in_b';
