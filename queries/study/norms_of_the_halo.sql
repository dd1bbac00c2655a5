-- Are tokens that don't round-trip, outside the cluster, shorter than others?
-- Asked by 1.10e_the_267 (box 2): norms of the halo, and of all that do round-trip.
select
    t.roundtrips,
    count(*) as n_tokens,
    round(avg(f.norm), 6) as mean,
    round(quantile_disc(f.norm, 0.5), 6) as median,
    round(min(f.norm), 6) as least,
    round(max(f.norm), 6) as most
from features as f
inner join tokens as t on f.model = t.model and f.token_id = t.token_id
inner join components as c on c.component_rank = 1 and f.component <> c.component
where t.kind <> 'missing'
group by t.roundtrips
order by t.roundtrips;
