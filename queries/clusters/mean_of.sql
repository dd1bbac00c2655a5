-- mean_of: the mean vector of tokens, given as a list of token_ids, as FLOAT[]; a token
-- counts once, and not at all where its row isn't finite. Of equal rows one is read;
-- sums are compensated (Kahan's), as centroid_of's are.
create macro mean_of(ids) as (
    with asked as materialized (
        select distinct unnest(ids)::integer as asked_for
    ),

    inside as materialized (
        select
            f.model,
            f.duplicate_of,
            count(*) as n_tokens
        from features as f
        inner join asked as a on f.token_id = a.asked_for
        where f.duplicate_of is not null
        group by f.model, f.duplicate_of
    ),

    parts as not materialized (
        select
            i.n_tokens,
            unnest(v.vector)::double as part,
            generate_subscripts(v.vector, 1) as place
        from
            vectors_of((
                select list(struct_pack(model := model, token_id := duplicate_of))
                from inside
            )) as v
        inner join inside as i on v.model = i.model and v.token_id = i.duplicate_of
    ),

    means as (
        select
            place,
            fsum(n_tokens * part) / sum(n_tokens) as mean
        from parts
        group by place
    ),

    found as (
        select count(distinct model) as n_models from inside
    )

    select
        case
            when any_value(f.n_models) > 1
                then
                    error(
                        'mean_of: several models in view have such tokens;'
                        || ' set variable model = ''NAME'' leaves the others out'
                    )
            when count(m.mean) = 0
                then
                    error(
                        'mean_of: none of the tokens has a finite row in vectors'
                        || ' (a model ingested with --no-vectors has none)'
                    )
            else list(m.mean order by m.place)::float[]
        end
    from found as f
    left join means as m on true
);

comment on macro mean_of is
'the mean vector of tokens, such as mean_of([124, 125]), or of a subquery''s list';
