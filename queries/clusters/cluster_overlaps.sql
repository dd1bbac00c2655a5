-- cluster_overlaps: how far two clusters are the same (notebook 1.5c).
-- Grain: one row per model and ordered pair of different clusters that share a token.
create view cluster_overlaps as
with sized as materialized (
    select
        model,
        cluster,
        count(*) as n_tokens
    from cluster_members
    group by model, cluster
),

common as (
    select
        a.model,
        a.cluster as cluster_a,
        b.cluster as cluster_b,
        count(*) as n_both
    from cluster_members as a
    inner join cluster_members as b
        on a.model = b.model and a.token_id = b.token_id and a.cluster <> b.cluster
    group by a.model, a.cluster, b.cluster
)

select
    c.model,
    c.cluster_a,
    c.cluster_b,
    a.n_tokens::integer as n_a,
    b.n_tokens::integer as n_b,
    c.n_both::integer as n_both,
    (a.n_tokens - c.n_both)::integer as n_only_a,
    (b.n_tokens - c.n_both)::integer as n_only_b,
    c.n_both / a.n_tokens as share_of_a,
    c.n_both / b.n_tokens as share_of_b,
    c.n_both / (a.n_tokens + b.n_tokens - c.n_both) as jaccard
from common as c
inner join sized as a on c.model = a.model and c.cluster_a = a.cluster
inner join sized as b on c.model = b.model and c.cluster_b = b.cluster;

comment on view cluster_overlaps is
'One row per ordered pair of clusters with a token in common: how many they share.';
comment on column cluster_overlaps.model is 'the catalogued matrix';
comment on column cluster_overlaps.cluster_a is 'a cluster';
comment on column cluster_overlaps.cluster_b is 'another';
comment on column cluster_overlaps.n_a is 'tokens of cluster_a';
comment on column cluster_overlaps.n_b is 'tokens of cluster_b';
comment on column cluster_overlaps.n_both is 'tokens of both';
comment on column cluster_overlaps.n_only_a is
'tokens of cluster_a that aren''t in cluster_b';
comment on column cluster_overlaps.n_only_b is
'tokens of cluster_b that aren''t in cluster_a';
comment on column cluster_overlaps.share_of_a is 'n_both / n_a';
comment on column cluster_overlaps.share_of_b is 'n_both / n_b';
comment on column cluster_overlaps.jaccard is 'n_both / tokens of either';
