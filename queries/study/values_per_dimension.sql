-- How many different values do the component's tokens have in a dimension?
-- Asked by 1.11d_dimensional_diversity (box 2), and by 07.3f_kissing_cluster_geometry
-- (box 1) of the frozen dimensions, those with one: how many dimensions have how many.
select
    case when n_values > 10 then 'more' else n_values::varchar end as different_values,
    count(*) as n_dims,
    arg_max(dim, extent_steps) as widest_dim,
    max(extent_steps) as its_steps
from dimension_statistics('largest-component')
group by different_values
order by min(n_values);
