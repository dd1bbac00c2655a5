select value as dot_mode_value
from mode_classes
where reference = '1.5c' and metric = 'dot';
