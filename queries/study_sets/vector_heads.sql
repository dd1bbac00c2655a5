-- vector_heads: the first 8 values of every different finite row, in units of their own
-- last bits: few rows that aren't near each other are so in these.
-- Grain: one row per vector, known by its lowest token_id.
-- noqa: disable=LT02
create macro vector_heads() as table
select
    v.model,
    v.token_id,
    own_ulps_of(v.vector[:8]) as head
from vectors as v
inner join features as f
    on v.model = f.model and v.token_id = f.token_id and v.token_id = f.duplicate_of;

comment on macro table vector_heads is
'the first 8 values of every different row, in units of their own last bits';
