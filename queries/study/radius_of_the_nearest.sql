-- How large is the ball around the cluster that holds so many tokens?
-- Asked by 06.1l_radial_expansion (box 1): the distance of the n-th nearest token to
-- the component's centroid.
select
    row_number() over (order by distance) as n_nearest,
    format('{:.6e}', distance) as radius
from scores
where reference = reference_named('1.6a')
qualify n_nearest in (10, 100, 1000, 2212, 2500, 5000, 10000)
order by n_nearest;
