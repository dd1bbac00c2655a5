-- variance_total: trace of the covariance (Azimuth II 07.3a).
select sum(eigenvalue) as variance_total
from principal_components;
