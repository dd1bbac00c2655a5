-- Has W as a whole frozen, binary or ternary dimensions, as its cluster has?
-- Asked by 07.3f_kissing_cluster_geometry (box 1) of the cluster; here of all tokens.
select
    count(*) filter (where n_values = 1) as n_frozen,
    count(*) filter (where n_values = 2) as n_binary,
    count(*) filter (where n_values = 3) as n_ternary,
    min(n_values) as fewest_values,
    max(n_values) as most_values
from dimensions;
