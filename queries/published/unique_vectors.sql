select count(*) as unique_vectors
from features
where token_id = duplicate_of;
