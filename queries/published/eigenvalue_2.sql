-- eigenvalue_2: PC2 eigenvalue (1.6a and Azimuth II 07.3a).
select eigenvalue as eigenvalue_2
from principal_components
where pc = 2;
