select n_vectors as unique_vectors
from dot_classes
where reference = '1.5c' and class_rank = 1;
