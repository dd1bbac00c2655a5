-- cosine_values: distinct bf16 cosines (1.4a).
select n_values as cosine_values
from mode_classes
where reference = '1.4a' and metric = 'cosine';
