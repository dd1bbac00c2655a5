-- eigenvalue_4: PC4 eigenvalue (1.6a and Azimuth II 07.3a).
select eigenvalue as eigenvalue_4
from principal_components
where pc = 4;
