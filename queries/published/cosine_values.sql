select n_values as cosine_values
from mode_classes
where reference = '1.4a' and metric = 'cosine';
