select n_vocab as tokenizer_entries
from models
where model_in_view(model);
