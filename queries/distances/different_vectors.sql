-- different_vectors: a cluster's different vectors, in DOUBLE.
-- Grain: one row per model in view and vector, by its lowest token in the cluster; rows
-- that aren't finite don't count. An error past most_vectors, where that isn't NULL.
-- noqa: disable=LT02
create macro different_vectors(cluster_name, most_vectors) as table
with asked as materialized (
    select cluster_named(cluster_name) as asked_for
),

inside as materialized (
    select
        c.model,
        f.duplicate_of,
        min(c.token_id) as token_id
    from cluster_members as c
    inner join asked as a on c.cluster = a.asked_for
    inner join features as f on c.model = f.model and c.token_id = f.token_id
    where f.norm is not null
    group by c.model, f.duplicate_of
),

stored as materialized (
    select distinct model from vectors
),

sized as materialized (
    select
        i.model,
        count(*) as n_vectors,
        any_value(s.model) as having_rows
    from inside as i
    left join stored as s on i.model = s.model
    group by i.model
),

allowed as materialized (
    select
        case
            when n_vectors > most_vectors
                then
                    error(
                        model || ': that cluster has ' || n_vectors
                        || ' different vectors, and pairs of up to ' || most_vectors
                        || ' are listed; pair_histogram counts those of any number'
                    )
            when max(having_rows) over () is null
                then
                    error(
                        model || ': was ingested with --no-vectors, so its rows aren''t'
                        || ' here; ingest it again, with --replace'
                    )
            else model
        end as model
    from sized
),

listed as materialized (
    select
        i.model,
        i.token_id,
        t.text
    from inside as i
    inner join allowed as a on i.model = a.model
    inner join tokens as t on i.model = t.model and i.token_id = t.token_id
)

select
    v.model,
    v.token_id,
    l.text,
    v.vector::double[] as numbers,
    length_of(v.vector) as norm
from vectors_of((
    select list(struct_pack(model := model, token_id := token_id)) from listed
)) as v
inner join listed as l on v.model = l.model and v.token_id = l.token_id;

comment on macro table different_vectors is
'a cluster''s different finite vectors as DOUBLE[], with their norms, each by its lowest
token in it; past most_vectors (NULL for no limit) an error';
