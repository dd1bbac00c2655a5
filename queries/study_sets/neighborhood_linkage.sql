-- neighborhood_linkage: single linkage of an exponent neighbourhood's rows under own
-- last bits. Rows that are 0 apart, which differ by powers of two alone, aren't joined.
-- Grain: one row per vector of neighborhood_vectors.
-- Components at so many own last bits are runs of linkage_place, broken where own_ulps
-- is NULL or more.
-- noqa: disable=LT02
create macro neighborhood_linkage(most_apart) as table
with pairs as materialized (
    select
        list(
            struct_pack(
                model := model,
                id := token_id,
                other_id := other_token_id,
                distance := nullif(own_ulps, 0)
            )
        ) as in_own_ulps
    from neighborhood_pairs(most_apart)
)

select
    l.model,
    l.id as token_id,
    f.duplicate_count as n_tokens,
    l.linkage_place,
    l.height::integer as own_ulps
from linkage_of((select in_own_ulps from pairs)) as l
inner join features as f on l.model = f.model and l.id = f.token_id
order by l.model, l.linkage_place;

comment on macro table neighborhood_linkage is
'single linkage of neighborhood_vectors under own last bits: components at so many are runs
of linkage_place, broken where own_ulps is NULL or more';
