-- unique_vectors: distinct rows of W (Azimuth II 06.1h).
select count(*) as unique_vectors
from features
where token_id = duplicate_of;
