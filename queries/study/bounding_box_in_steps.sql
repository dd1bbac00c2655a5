-- How large is the box around the component, in bf16 steps?
-- Asked by 1.9i_bounding_boxes (box 3): how many dimensions have which extent, from the
-- least to the most value there.
select
    extent_steps,
    count(*) as n_dims,
    min(most - least) as least_width,
    max(most - least) as most_width
from dimension_statistics('largest-component')
group by extent_steps
order by extent_steps;
