with gaps as (
    select
        (upper_value::double - lower_value)
        / pow(2, floor(log2(abs(lower_value::double))) - 7) as ulps
    from component_gaps()
    where lower_value <> 0
)

select count(*) as n_gaps
from gaps
where abs(ulps - round(ulps)) < 1e-6;
