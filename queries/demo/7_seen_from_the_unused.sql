-- Seen from the unused tokens' centre: those with the most frequent bf16 dot product.
select
    m.kind,
    count(*) as n_tokens,
    any_value(s.dot_bf16) as dot_bf16,
    list(m.piece order by m.token_id)[:4] as some_pieces
from members('unused:dot-mode') as m
inner join scores as s on m.model = s.model and m.token_id = s.token_id
where s.reference = 'unused'
group by m.kind
order by n_tokens desc;
