select eigenvalue as eigenvalue_2
from principal_components
where pc = 2;
