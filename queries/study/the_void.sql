-- Where is the void around the cluster?
-- Asked by 13.1a_extract_dead_tokens (box 1): the largest gaps among the distances of
-- the 10,000 nearest tokens to the component's centroid, and how many are inside.
with nearest_first as (
    select
        row_number() over (order by distance) as n_inside,
        round(distance, 9) as below,
        round(lead(distance) over (order by distance), 9) as above
    from scores
    where reference = reference_named('1.6a')
)

from nearest_first
where n_inside < 10000
order by above - below desc
limit 3;
