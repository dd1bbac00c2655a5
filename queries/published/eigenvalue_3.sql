select eigenvalue as eigenvalue_3
from principal_components
where pc = 3;
