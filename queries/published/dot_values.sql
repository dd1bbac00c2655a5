-- dot_values: distinct bf16 dot products (1.5c).
select n_values as dot_values
from mode_classes
where reference = '1.5c' and metric = 'dot';
