select eigenvalue as eigenvalue_5
from principal_components
where pc = 5;
