select count(*) as n_tokens
from box_search(-7.289, 6.940, 0.2);
