select n_dims
from models
where model_in_view(model);
