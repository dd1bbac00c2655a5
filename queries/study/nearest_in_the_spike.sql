-- How near is the nearest other token, in the spike where the cluster was found?
-- Asked by 1.4f_nearest_neighbor_analysis (box 2): 0 for a row that others share, else
-- below the linkage's threshold, or its radius; NULL is past that.
select
    case
        when f.duplicate_count > 1 then 0
        when f.nn_distance < m.linkage_threshold then m.linkage_threshold
        when f.nn_distance < m.linkage_radius then m.linkage_radius
    end as nearer_than,
    count(*) as n_tokens
from members('spike') as f
inner join models as m on f.model = m.model
group by nearer_than
order by nearer_than;
