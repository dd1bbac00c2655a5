-- Are the tokens that no text reaches the ones in the frozen cluster?
-- Asked by 1.8d_full_vocabulary_reachability (box 2): entries of the tokenizer by
-- whether they are in the largest component, and whether they come back as themselves
-- when their text is tokenized. Those outside that don't are the study's halo.
select
    f.component = c.component as in_the_component,
    count(*) filter (where t.roundtrips) as n_that_round_trip,
    count(*) filter (where not t.roundtrips) as n_that_do_not
from tokens as t
inner join features as f on t.model = f.model and t.token_id = f.token_id
inner join components as c on f.model = c.model and c.component_rank = 1
where t.kind <> 'missing'
group by in_the_component
order by in_the_component desc;
