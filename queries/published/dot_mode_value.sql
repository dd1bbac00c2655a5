-- dot_mode_value: most frequent bf16 dot product with that centroid (0.1376953125)
-- (1.5c).
select value as dot_mode_value
from mode_classes
where reference = '1.5c' and metric = 'dot';
