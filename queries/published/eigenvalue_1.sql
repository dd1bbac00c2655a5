select eigenvalue as eigenvalue_1
from principal_components
where pc = 1;
