-- flood: who is reached from a token, in the whole vocabulary, by chains of steps: from
-- one token to any that is within `most_steps` lattice steps in every dimension.
-- Grain: one row per token reached, the token itself among them, in each model in view
-- that has it; none where its row isn't finite, an error where no model has it.
-- The components are runs of lattice_order, up to models.lattice_most_steps.
-- noqa: disable=LT02
create macro flood(token, most_steps) as table
with given as materialized (
    select
        token::integer as from_token,
        lattice_steps_asked(most_steps) as n_steps
),

asked as materialized (
    select
        m.model,
        g.from_token,
        case
            when
                (
                    bool_or(g.from_token between 0 and m.n_tokens - 1) over ()
                ) is not true
                then
                    error(
                        'no model in view has a token '
                        || coalesce(g.from_token::varchar, 'NULL')
                        || '; token_ids are the rows of W, from 0'
                    )
            when g.n_steps <= m.lattice_most_steps then g.n_steps
            when m.dtype <> 'bf16'
                then
                    error(
                        m.model || ': is stored in ' || m.dtype
                        || ', and the lattice is that of bf16; set variable model ='
                        || ' ''NAME'' leaves others out'
                    )
            when m.lattice_most_steps is null
                then
                    error(
                        m.model || ': was ingested by a version without a lattice;'
                        || ' ingest it again, with --replace'
                    )
            else
                error(
                    m.model || ': its lattice is known up to '
                    || m.lattice_most_steps || ' steps, and ' || g.n_steps
                    || ' are asked for; lattice_components(cluster_name, '
                    || g.n_steps || ') is that of a cluster'
                )
        end as n_steps
    from models as m
    cross join given as g
    where model_in_view(m.model)
),

runs as materialized (
    select
        l.model,
        l.token_id,
        l.token_id = a.from_token as is_source,
        sum(case when l.lattice_steps <= a.n_steps then 0 else 1 end) over (
            partition by l.model order by l.lattice_order rows unbounded preceding
        ) as run
    from lattice as l
    inner join asked as a on l.model = a.model
    where l.lattice_order is not null
),

reached as materialized (
    select
        r.model,
        r.token_id
    from runs as r
    inner join runs as s on r.model = s.model and r.run = s.run and s.is_source
)

select
    r.model,
    r.token_id,
    t.text
from reached as r
inner join tokens as t on r.model = t.model and r.token_id = t.token_id
union all
-- No rows: but where nothing is reached, the question is still refused.
select
    model,
    null as token_id,
    null as text
from asked
where n_steps is null
order by model, token_id;

comment on macro table flood is
'the tokens that chains of lattice steps reach from a token, each of at most so many in every
dimension; past models.lattice_most_steps, where the model isn''t stored in bf16, or no model has
the token, an error';
