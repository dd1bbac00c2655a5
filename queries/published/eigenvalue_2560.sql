-- eigenvalue_2560: smallest eigenvalue (Azimuth II 01.1b).
select eigenvalue as eigenvalue_2560
from principal_components
where pc = 2560;
