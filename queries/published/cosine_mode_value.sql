-- cosine_mode_value: most frequent bf16 cosine to the direction lat -7.288 lon 6.941
-- (1.4a).
select value as cosine_mode_value
from mode_classes
where reference = '1.4a' and metric = 'cosine';
