with middle as (
    select list(mean_projection order by pc) as pcs
    from principal_components
    where pc <= 5
),

away as (
    select
        f.token_id,
        f.pcs[4] - m.pcs[4] as pc4,
        f.pcs[5] - m.pcs[5] as pc5
    from features as f
    cross join middle as m
),

jet as (
    select list(a.token_id) as ids
    from away as a
    inner join away as s on s.token_id = 317
    where a.pc4 * sign(s.pc4) > 0.1 and a.pc5 * sign(s.pc5) > 0.05
),

centre as materialized (
    select mean_of((from jet)) as vector
)

select length_of(vector) as centroid_norm
from centre;
