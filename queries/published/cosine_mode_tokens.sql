select n_tokens as cosine_mode_tokens
from mode_classes
where reference = '1.4a' and metric = 'cosine';
