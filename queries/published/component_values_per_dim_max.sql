select max(n_values) as n_values
from dimension_statistics('largest-component');
