-- eigenvalue_5: PC5 eigenvalue (1.6a and Azimuth II 07.3a).
select eigenvalue as eigenvalue_5
from principal_components
where pc = 5;
