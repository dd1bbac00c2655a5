with shells as (
    select
        round_even(bf16(linf)::double / pow(2, -16), 0)::integer as shell,
        sum(n_tokens)::bigint as n_tokens
    from component_vectors()
    group by shell
)

select string_agg(shell || ':' || n_tokens, ' ' order by shell) as n_tokens
from shells;
