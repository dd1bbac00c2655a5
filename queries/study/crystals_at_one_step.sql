-- Into what crystals does the component fall, where neighbours are one bf16 step apart
-- at most, in every dimension?
-- Asked by qwen3/spongecrystal_topology (box 4), on a lattice that counts 127 steps at
-- each change of the exponent.
select
    c.component,
    count(*) as n_tokens,
    count(*) filter (where c.token_id = f.duplicate_of) as n_vectors
from lattice_components('largest-component', 1) as c
inner join features as f on c.model = f.model and c.token_id = f.token_id
group by c.component
order by n_tokens desc, component asc
limit 10;
