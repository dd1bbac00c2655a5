select sum(eigenvalue) as variance_total
from principal_components;
