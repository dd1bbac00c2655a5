select n_tokens as dot_mode_tokens
from mode_classes
where reference = '1.5c' and metric = 'dot';
