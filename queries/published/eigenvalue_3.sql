-- eigenvalue_3: PC3 eigenvalue (1.6a and Azimuth II 07.3a).
select eigenvalue as eigenvalue_3
from principal_components
where pc = 3;
