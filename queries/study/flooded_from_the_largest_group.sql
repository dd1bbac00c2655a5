-- Who is reached from the largest group by single steps?
-- Asked by qwen3/spongecrystal_survey (box 4), on a lattice that counts 127 steps at
-- each change of the exponent: by chains of vectors one bf16 step apart, at most, in
-- every dimension, through the whole vocabulary.
with reached as (
    from flood((
        select arg_max(duplicate_of, (n_tokens, -duplicate_of)) from duplicate_groups
    ), 1)
)

select
    f.component = c.component as in_the_component,
    count(*) as n_tokens,
    count(*) filter (where f.token_id = f.duplicate_of) as n_vectors
from reached as w
inner join features as f on w.model = f.model and w.token_id = f.token_id
inner join components as c on f.model = c.model and c.component_rank = 1
group by in_the_component;
