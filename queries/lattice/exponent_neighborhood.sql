-- exponent_neighborhood: the tokens whose exponent fields differ by at most so many
-- from those of a token's row, in every dimension.
-- Grain: one row per token whose row is finite, in each model in view that has `token`.
-- Most rows show in their first 128 values that they aren't near; only the others are
-- compared in all.
-- noqa: disable=LT02
create macro exponent_neighborhood(token, most_apart) as table
with given as materialized (
    select
        token::integer as own_token_id,
        most_apart::integer as n_apart
),

own as materialized (
    select
        v.model,
        g.n_apart,
        list_transform(
            exponents_of(v.vector), lambda e: pow(2.0::double, 127 - e::integer)
        ) as scales
    from vectors as v
    inner join given as g on v.token_id = g.own_token_id
),

likely as not materialized (
    select
        v.model,
        v.token_id,
        v.vector,
        o.scales,
        o.n_apart
    from vectors as v
    inner join own as o on v.model = o.model
    where exponents_apart(v.vector[:128], o.scales) <= o.n_apart
),

-- Side by side in rows of their own: half the time that lambdas over lists take.
ratios as not materialized (
    select
        model,
        token_id,
        n_apart,
        greatest(abs(unnest(vector)::double), 5.877471754111438e-39::double)
        * unnest(scales) as ratio
    from likely
),

apart as not materialized (
    select
        model,
        token_id,
        n_apart,
        greatest(floor(log2(max(ratio))), -floor(log2(min(ratio))))
        as exponent_distance
    from ratios
    group by model, token_id, n_apart
    having isfinite(max(ratio))
)

select
    a.model,
    a.token_id,
    t.text,
    a.exponent_distance::integer as exponent_distance
from apart as a
inner join tokens as t on a.model = t.model and a.token_id = t.token_id
where a.exponent_distance <= a.n_apart;

comment on macro table exponent_neighborhood is
'the tokens whose bfloat16 exponents differ by at most so many from those of a token''s row in
every dimension, and by how many at most';
