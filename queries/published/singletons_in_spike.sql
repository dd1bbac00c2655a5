with inside as (
    select count(*) as n_tokens
    from features as f
    inner join recipe_clusters as c
        on f.model = c.model and f.token_id = c.token_id and c.cluster = 'spike'
    group by f.component
)

select count(*) as n_singletons
from inside
where n_tokens = 1;
