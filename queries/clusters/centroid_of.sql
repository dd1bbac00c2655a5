-- centroid_of: the mean vector of a cluster, as FLOAT[]; rows that aren't finite don't
-- count. Sums are compensated (Kahan's), so that the result is, but for a last bit once
-- in a long while, what a recipe's centroid is.
create macro centroid_of(cluster_name) as (
    with asked as materialized (
        select cluster_named(cluster_name) as asked_for
    ),

    inside as not materialized (
        select
            c.model,
            c.token_id
        from cluster_members as c
        inner join asked as a on c.cluster = a.asked_for
        inner join features as f on c.model = f.model and c.token_id = f.token_id
        where f.norm is not null
    ),

    parts as not materialized (
        select
            v.model,
            unnest(v.vector) as part,
            generate_subscripts(v.vector, 1) as place
        from vectors_of((
            select list(struct_pack(model := model, token_id := token_id)) from inside
        )) as v
    ),

    means as (
        select
            model,
            place,
            fsum(part) / count(*) as mean
        from parts
        group by model, place
    ),

    found as (
        select count(distinct model) as n_models from inside
    )

    select
        case
            when any_value(f.n_models) > 1
                then
                    error(
                        'centroid_of: several models in view have a cluster of that'
                        || ' name; set variable model = ''NAME'' leaves the others out'
                    )
            when count(m.mean) = 0
                then
                    error(
                        'centroid_of: the cluster has no finite row in vectors'
                        || ' (a model ingested with --no-vectors has none)'
                    )
            else list(m.mean order by m.place)::float[]
        end
    from found as f
    left join means as m on true
);

comment on macro centroid_of is
'the mean vector of a cluster: from point_at(centroid_of(''largest-component''))';
