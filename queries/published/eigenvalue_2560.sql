select eigenvalue as eigenvalue_2560
from principal_components
where pc = 2560;
