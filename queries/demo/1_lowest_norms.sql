-- The ten lowest norms: [MASK] first, then tokens that were never trained.
select
    f.token_id,
    t.text,
    t.kind,
    round(f.norm, 6) as norm,
    f.norm_bf16
from features as f
inner join tokens as t on f.model = t.model and f.token_id = t.token_id
order by f.norm, f.token_id
limit 10;
