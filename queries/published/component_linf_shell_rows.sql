with shells as (
    select
        round_even(bf16(linf)::double / pow(2, -16), 0)::integer as shell,
        count(*) as n_rows
    from component_vectors()
    group by shell
)

select string_agg(shell || ':' || n_rows, ' ' order by shell) as n_rows
from shells;
