select dot_bf16 as second_mode_value
from dot_classes
where reference = '1.5c' and class_rank = 2;
