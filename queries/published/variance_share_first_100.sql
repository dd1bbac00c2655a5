-- variance_share_first_100: share of variance in PC1..100 (printed as 10.16%) (1.6a).
select sum(variance_share) as variance_share_first_100
from principal_components
where pc <= 100;
