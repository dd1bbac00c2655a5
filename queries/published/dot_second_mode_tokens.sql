select n_tokens as second_mode_tokens
from dot_classes
where reference = '1.5c' and class_rank = 2;
