-- compare_tokens: two models side by side, token by token, and how far the rows of a
-- token of both are apart.
-- Grain: every token of either is in one row (see matched_tokens; by what: token_keys).
-- distance, cosine and equal are of the rows as stored, in DOUBLE, and NULL where the
-- widths differ, a model has no rows in `vectors`, or one isn't finite (equal is told
-- of those, too). They cost a pass over both models' rows, and are computed only where
-- they are asked for. cosine is within (n_dims + 8) * 2^-52.
-- noqa: disable=LT02
create macro compare_tokens(model_a, model_b) as table
with apart as not materialized (
    select
        token_a,
        token_b,
        distance,
        dot,
        equal
    from row_distances(model_a, model_b)
),

aligned as not materialized (
    select
        t.token_id as token_a,
        t.other_token_id as token_b,
        t.distance as aligned_distance,
        t.cosine as aligned_cosine
    from
        read_parquet(
            files_of_model(model_a, 'aligned_tokens'), hive_partitioning = false
        ) as t
    inner join
        read_parquet(
            files_of_model(model_a, 'alignments'), hive_partitioning = false
        ) as l
        on
            t.model = l.model
            and t.other = l.other
            and l.model = model_a
            and l.other = model_b
    -- Of the other matrix as it is now.
    inner join models as o
        on l.other_tensor_sha256 = o.tensor_sha256 and o.model = model_b
    where t.model = model_a and t.other = model_b
)

select
    m.token_a,
    m.token_b,
    m.text,
    m.match,
    m.ambiguous,
    m.begins_word,
    m.kind_a,
    m.kind_b,
    fa.norm as norm_a,
    fb.norm as norm_b,
    fa.centred_norm as centred_norm_a,
    fb.centred_norm as centred_norm_b,
    fa.radius as radius_a,
    fb.radius as radius_b,
    fa.lat as lat_a,
    fb.lat as lat_b,
    fa.lon as lon_a,
    fb.lon as lon_b,
    fa.duplicate_of as duplicate_of_a,
    fb.duplicate_of as duplicate_of_b,
    fa.duplicate_count as duplicate_count_a,
    fb.duplicate_count as duplicate_count_b,
    fa.component as component_a,
    fb.component as component_b,
    fa.component_size as component_size_a,
    fb.component_size as component_size_b,
    d.distance,
    case
        when d.dot is not null and fa.norm * fb.norm > 0
            then
                greatest(
                    least(d.dot / (fa.norm * fb.norm), 1.0::double), -1.0::double
                )
    end as cosine,
    d.equal,
    n.aligned_distance,
    n.aligned_cosine
from matched_tokens(model_a, model_b) as m
left join compared_features(model_a) as fa on m.token_a = fa.token_id
left join compared_features(model_b) as fb on m.token_b = fb.token_id
left join apart as d on m.token_a = d.token_a and m.token_b = d.token_b
left join aligned as n on m.token_a = n.token_a and m.token_b = n.token_b
order by m.token_a nulls last, m.token_b;

comment on macro table compare_tokens is
'two models side by side: their tokens matched by bytes and whether they begin a word
(match: both, only_a, only_b; ambiguous ones are marked), both sets of features, and where
the widths agree distance, cosine and equal (bit for bit) of the two rows: from
compare_tokens(''base'', ''instruct''); aligned_distance and aligned_cosine after
`token-catalog compare A B --align`';
