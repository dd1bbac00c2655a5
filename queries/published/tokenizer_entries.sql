-- tokenizer_entries: entries of the tokenizer; the other 267 rows of W have none
-- (Azimuth II 1.8d).
select n_vocab as tokenizer_entries
from models
where model_in_view(model);
