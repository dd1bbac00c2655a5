-- eigenvalue_10: PC10 eigenvalue (1.6a and Azimuth II 07.3a).
select eigenvalue as eigenvalue_10
from principal_components
where pc = 10;
