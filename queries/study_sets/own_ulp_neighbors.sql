-- own_ulp_neighbors: the rows within so many own last bits of given tokens' rows, in
-- every dimension; a step across a boundary of exponents counts 127, and a power of two
-- between two values none.
-- Grain: one row per given vector and vector near it, each by its lowest token_id.
-- noqa: disable=LT02
create macro own_ulp_neighbors(ids, most_ulps) as table
with asked as materialized (
    select distinct unnest(ids)::integer as asked_for
),

given as materialized (
    select distinct
        f.model,
        f.duplicate_of as token_id
    from features as f
    inner join asked as a on f.token_id = a.asked_for
),

heads as materialized (
    select
        model,
        token_id,
        head
    from vector_heads()
),

likely as materialized (
    select
        g.model,
        g.token_id,
        o.token_id as other_token_id
    from given as g
    inner join heads as h on g.model = h.model and g.token_id = h.token_id
    inner join heads as o
        on
            h.model = o.model
            and h.token_id <> o.token_id
            and heads_within(h.head, o.head, most_ulps)
),

compared as materialized (
    select
        model,
        token_id,
        own_ulps_of(vector) as own_ulps
    from vectors
    where token_id in (select unnest([token_id, other_token_id]) from likely)
),

parts as not materialized (
    select
        l.model,
        l.token_id,
        l.other_token_id,
        unnest(p.own_ulps) as number,
        unnest(q.own_ulps) as other_number
    from likely as l
    inner join compared as p on l.model = p.model and l.token_id = p.token_id
    inner join compared as q on l.model = q.model and l.other_token_id = q.token_id
),

apart as (
    select
        model,
        token_id,
        other_token_id,
        max(abs(number - other_number))::integer as own_ulps
    from parts
    group by model, token_id, other_token_id
)

select
    model,
    token_id,
    other_token_id,
    own_ulps
from apart
where own_ulps <= most_ulps
order by model, token_id, other_token_id;

comment on macro table own_ulp_neighbors is
'the different rows within so many own last bits of those of given tokens in every dimension,
and how many at most (own_ulps)';
