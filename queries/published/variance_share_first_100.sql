select sum(variance_share) as variance_share_first_100
from principal_components
where pc <= 100;
