select count(*) as n_tokens
from overlap('1.4a:cosine-mode', '1.5c:dot-mode')
where side = 'both';
