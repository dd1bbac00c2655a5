-- No rows where they never are: then more than the first row has no height.
select max(own_ulps) as connected_at
from neighborhood_linkage(5)
having count(*) - count(own_ulps) = 1;
