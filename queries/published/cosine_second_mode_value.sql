-- cosine_second_mode_value: second most frequent cosine (1.4a).
select cosine_bf16 as second_mode_value
from cosine_classes
where reference = '1.4a' and class_rank = 2;
