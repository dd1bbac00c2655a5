with duplicates as (
    select list(token_id) as ids
    from features
    where duplicate_count > 1
),

centre as materialized (
    select mean_of((from duplicates)) as vector
),

parts as (
    select
        d.token_id,
        unnest(v.vector)::double as part,
        generate_subscripts(v.vector, 1) as dim
    from distances_to((from centre)) as d
    inner join features as f on d.model = f.model and d.token_id = f.token_id
    inner join vectors as v on d.model = v.model and d.token_id = v.token_id
    where d.distance < 0.01214174 and f.token_id = f.duplicate_of
),

means as (
    select
        dim,
        fsum(part) / count(*) as mean
    from parts
    group by dim
),

away as (
    select
        p.token_id,
        max(abs(p.part - m.mean)) as linf
    from parts as p
    inner join means as m on p.dim = m.dim
    group by p.token_id
),

gaps as (
    select
        linf,
        lead(linf) over (order by linf) - linf as gap
    from away
)

select list(token_id order by token_id) as outliers
from away
where linf > (select arg_max(linf, gap) from gaps);
