-- lattice_vectors: the different vectors of a cluster, as points of the lattice.
-- Grain: one row per vector, known by the lowest token_id that has it in the cluster,
-- in each model in view that has a cluster of the name; vector_number counts from 1.
-- More vectors than `most_vectors`, and rows that aren't in `vectors`, are errors.
-- noqa: disable=LT02
create macro lattice_vectors(cluster_name, most_vectors) as table
with inside as materialized (
    select
        model,
        token_id
    from lattice_tokens(cluster_name)
    where token_id = vector_token_id
),

with_vectors as materialized (
    select distinct model from vectors
),

allowed as materialized (
    select
        i.model,
        case
            when count(*) > most_vectors
                then
                    error(
                        i.model || ': the cluster has ' || count(*)
                        || ' different vectors, and all pairs are compared of '
                        || most_vectors || ' at most; give a smaller cluster, or ask'
                        || ' the table `lattice` and flood(…), which know the whole'
                        || ' vocabulary'
                    )
            when any_value(w.model) is null
                then
                    error(
                        i.model || ': its rows aren''t in the catalog (it was ingested'
                        || ' with --no-vectors); ingest it again, with --replace'
                    )
            else true
        end as is_allowed
    from inside as i
    left join with_vectors as w on i.model = w.model
    group by i.model
),

known as materialized (
    select
        i.model,
        i.token_id
    from inside as i
    inner join allowed as a on i.model = a.model and a.is_allowed
)

select
    v.model,
    v.token_id,
    row_number() over (order by v.model, v.token_id)::integer as vector_number,
    lattice_of(v.vector) as places
from vectors_of((
    select list(struct_pack(model := model, token_id := token_id)) from known
)) as v
union all
-- No rows: but where no model in view has vectors, the question is still refused.
select
    model,
    null as token_id,
    null as vector_number,
    null as places
from allowed
where not is_allowed;

comment on macro table lattice_vectors is
'the different vectors of a cluster, each by its lowest token_id in it, with its coordinates
on the lattice; an error past so many vectors';
