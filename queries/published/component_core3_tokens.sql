select sum(n_tokens)::bigint as n_tokens
from component_vectors()
where linf <= 3 * pow(2, -16);
