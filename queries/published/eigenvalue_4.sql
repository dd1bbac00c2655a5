select eigenvalue as eigenvalue_4
from principal_components
where pc = 4;
