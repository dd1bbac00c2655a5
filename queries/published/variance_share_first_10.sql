-- variance_share_first_10: share of variance in PC1..10 (printed as 2.58%) (1.6a).
select sum(variance_share) as variance_share_first_10
from principal_components
where pc <= 10;
