-- lattice_tokens: the tokens of a cluster whose rows are finite, each with the lowest
-- token_id in the cluster that has an equal row.
-- Grain: one row per token, in each model in view that has a cluster of the name; a
-- model that isn't stored in bf16 is an error.
-- noqa: disable=LT02
create macro lattice_tokens(cluster_name) as table
with asked as materialized (
    select cluster_named(cluster_name) as asked_for
)

select
    case
        when dtype_of(c.model) = 'bf16' then c.model
        else
            error(
                c.model || ': is stored in ' || dtype_of(c.model)
                || ', and the lattice is that of bf16; set variable model = ''NAME'''
                || ' leaves others out; lattice_of(bf16_list(…)) is a rounded row''s'
            )
    end as model,
    c.token_id,
    min(c.token_id) over (partition by c.model, f.duplicate_of) as vector_token_id
from cluster_members as c
inner join asked as a on c.cluster = a.asked_for
inner join features as f on c.model = f.model and c.token_id = f.token_id
where f.norm is not null;

comment on macro table lattice_tokens is
'the finite tokens of a cluster, each with the lowest token_id in it that has an equal row; an
error for a model that isn''t stored in bf16';
