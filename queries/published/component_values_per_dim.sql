-- The last counts those with more than 10.
with counts as (
    select
        k.n_values,
        count(d.dim) as n_dims
    from range(1, 12) as k (n_values)
    left join dimension_statistics('largest-component') as d
        on k.n_values = least(d.n_values, 11)
    group by k.n_values
)

select list(n_dims order by n_values) as n_dims
from counts;
