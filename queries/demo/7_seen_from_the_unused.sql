-- Seen from the centre of the unused tokens: the bf16 dot product that most tokens share.
select
    t.kind,
    count(*) as n_tokens,
    any_value(s.dot_bf16) as dot_bf16,
    list(t.piece order by t.token_id)[:4] as some
from members('unused:dot-mode') as t
inner join scores as s on t.model = s.model and t.token_id = s.token_id
where s.reference = 'unused'
group by t.kind
order by n_tokens desc;
