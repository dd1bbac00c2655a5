-- How does W lie around its frozen cluster?
-- Asked by 1.6d_axial_tomography (box 2): how far the tokens' x (PC1), y (PC3) and
-- z (PC2) go either way from the centroid of the largest component.
with centre as (
    select [avg(x), avg(y), avg(z)] as place from members('largest-component')
)

select
    round(min(f.x - c.place[1]), 6) as x_least,
    round(max(f.x - c.place[1]), 6) as x_most,
    round(min(f.y - c.place[2]), 6) as y_least,
    round(max(f.y - c.place[2]), 6) as y_most,
    round(min(f.z - c.place[3]), 6) as z_least,
    round(max(f.z - c.place[3]), 6) as z_most
from features as f
cross join centre as c;
