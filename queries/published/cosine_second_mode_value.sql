select cosine_bf16 as second_mode_value
from cosine_classes
where reference = '1.4a' and class_rank = 2;
