-- Kinds of token: the unused ones are as alike in length as no other.
select
    t.kind,
    count(*) as n_tokens,
    round(avg(f.norm), 3) as mean_norm,
    round(stddev_pop(f.norm), 3) as spread_of_norm,
    sum(t.roundtrips::integer) as n_roundtripping
from tokens as t
inner join features as f on t.model = f.model and t.token_id = f.token_id
group by t.kind
order by n_tokens desc;
