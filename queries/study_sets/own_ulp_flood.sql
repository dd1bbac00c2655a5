-- own_ulp_flood: the rows reached from given tokens' rows by steps of exactly one own
-- last bit, in any number of dimensions each, and these rows themselves.
-- Grain: one row per vector, known by its lowest token_id.
-- By the first 8 values more are reached than by all, and no fewer: all values are
-- compared of those alone.
-- noqa: disable=LT02
create macro own_ulp_flood(ids) as table
with recursive asked as materialized (
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

likely as (
    select
        h.model,
        h.token_id,
        h.head
    from heads as h
    inner join given as g on h.model = g.model and h.token_id = g.token_id
    union
    select
        o.model,
        o.token_id,
        o.head
    from likely as l
    inner join heads as o
        on l.model = o.model and heads_within(l.head, o.head, 1)
),

points as materialized (
    select
        list(
            struct_pack(
                model := v.model,
                id := v.token_id,
                numbers := own_ulps_of(v.vector)
            )
        ) as in_own_ulps
    from likely as l
    inner join vectors as v on l.model = v.model and l.token_id = v.token_id
),

steps as materialized (
    select
        model,
        unnest([id, other_id]) as token_id,
        unnest([other_id, id]) as other_token_id
    from pairs_of_points((select in_own_ulps from points))
    where linf = 1
),

reached as (
    select
        model,
        token_id
    from given
    union
    select
        s.model,
        s.other_token_id as token_id
    from reached as r
    inner join steps as s on r.model = s.model and r.token_id = s.token_id
)

select
    r.model,
    r.token_id,
    f.duplicate_count as n_tokens
from reached as r
inner join features as f on r.model = f.model and r.token_id = f.token_id
order by r.model, r.token_id;

comment on macro table own_ulp_flood is
'the different rows reached from those of given tokens by steps of exactly one own last bit,
in any number of dimensions each: how many tokens each has';
