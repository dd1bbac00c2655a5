select eigenvalue as eigenvalue_10
from principal_components
where pc = 10;
