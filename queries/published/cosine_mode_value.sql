select value as cosine_mode_value
from mode_classes
where reference = '1.4a' and metric = 'cosine';
