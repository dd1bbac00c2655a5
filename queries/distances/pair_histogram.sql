-- pair_histogram: how many pairs of a cluster's different vectors are how far apart, or
-- have which cosine: bin k has those from k * width, inclusive, to (k + 1) * width.
-- Grain: one row per model in view and bin with a pair. A pair is counted as it comes,
-- and not kept; any number of vectors, all of which are held in DOUBLE. Pairs with a
-- row of zeros have no cosine. The metrics are those of pairs_within.
-- noqa: disable=LT02
create macro pair_histogram(cluster_name, metric_name, width) as table
with given as materialized (
    select
        metric_named(metric_name) as asked_metric,
        width_of_bins(width) as bin_width
),

measured as not materialized (
    select
        p.model,
        g.bin_width,
        case g.asked_metric
            when 'euclidean' then list_distance(p.own_numbers, p.other_numbers)
            when 'cosine'
                then
                    cosine_of_pair(
                        p.own_numbers, p.own_norm, p.other_numbers, p.other_norm
                    )
            when 'linf'
                then list_max(differences_between(p.own_numbers, p.other_numbers))
            when 'l1'
                then list_sum(differences_between(p.own_numbers, p.other_numbers))
        end as metric_value
    from vector_pairs(cluster_name, null) as p
    cross join given as g
),

binned as not materialized (
    select
        model,
        bin_width,
        bin_of(metric_value, bin_width) as bin
    from measured
),

counted as (
    select
        model,
        bin,
        bin_width,
        count(bin) as n_pairs
    from binned
    group by model, bin, bin_width
)

select
    model,
    bin,
    bin * bin_width as from_value,
    (bin + 1) * bin_width as to_value,
    n_pairs
from counted
where n_pairs > 0
order by model, bin;

comment on macro table pair_histogram is
'how many pairs of a cluster''s different vectors have a value of a metric (euclidean,
cosine, linf or l1: see pairs_within) from bin * width to below (bin + 1) * width; any
number of vectors; no row for a bin without a pair';
