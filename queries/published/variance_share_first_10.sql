select sum(variance_share) as variance_share_first_10
from principal_components
where pc <= 10;
