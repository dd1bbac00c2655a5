-- row_distances: how far matched tokens' rows are apart, in two models of one width.
-- Grain: one row per token of both that has its row in `vectors` of both; none where
-- the widths differ.
-- distance is within (n_dims + 8) * 2^-54 of the exact one, relatively, by differences;
-- equal is of the bits: -0.0 isn't 0.0, and a NaN is one of the same bits.
-- One side's rows are held while the other's are read: what joins them must be small,
-- and nothing may join or filter them afterwards, which would copy every vector. So
-- their model is no condition of the join, and norms come later.
-- noqa: disable=LT02
create macro row_distances(model_a, model_b) as table
with pairs as materialized (
    select
        p.token_a,
        p.token_b
    from matched_tokens(model_a, model_b) as p
    inner join models as a on a.model = model_a
    inner join models as b on b.model = model_b and a.n_dims = b.n_dims
    where p.match = 'both'
),

rows_apart as not materialized (
    select
        p.token_a,
        p.token_b,
        a.vector as own_row,
        b.vector as other_row,
        a.vector::double[] as own_numbers,
        b.vector::double[] as other_numbers
    from pairs as p
    inner join
        read_parquet(
            files_of_model(model_a, 'vectors'), hive_partitioning = false
        ) as a
        on p.token_a = a.token_id and a.model = model_a
    inner join
        read_parquet(
            files_of_model(model_b, 'vectors'), hive_partitioning = false
        ) as b
        on p.token_b = b.token_id and b.model = model_b
),

measured as not materialized (
    select
        token_a,
        token_b,
        own_row,
        other_row,
        list_distance(own_numbers, other_numbers) as apart,
        list_inner_product(own_numbers, other_numbers) as dot
    from rows_apart
)

select
    token_a,
    token_b,
    finite_or_null(apart) as distance,
    dot,
    -- Signs are compared only where zeros may have two, and bits, which takes a hundred
    -- times as long, only where rows aren't finite.
    case
        when not isfinite(apart) then own_row::bit[] = other_row::bit[]
        when apart > 0 then false
        when not list_contains(own_row, 0.0::float) then true
        else
            [signbit(number) for number in own_row]
            = [signbit(number) for number in other_row]
    end as equal
from measured;

comment on macro table row_distances is
'of the tokens of two models of one width: distance and dot product of their rows as
stored, in DOUBLE, and whether they are equal bit for bit: what compare_tokens shows';
