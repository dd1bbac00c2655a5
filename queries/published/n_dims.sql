-- n_dims: columns of W (1.4a).
select n_dims
from models
where model_in_view(model);
