select n_values as dot_values
from mode_classes
where reference = '1.5c' and metric = 'dot';
