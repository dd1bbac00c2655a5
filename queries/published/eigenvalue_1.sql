-- eigenvalue_1: PC1 eigenvalue of the covariance (1/N) (1.6a and Azimuth II 07.3a).
select eigenvalue as eigenvalue_1
from principal_components
where pc = 1;
