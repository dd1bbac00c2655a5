select n_tokens as second_mode_tokens
from cosine_classes
where reference = '1.4a' and class_rank = 2;
