with gaps as (
    select
        (upper_value::double - lower_value)
        / pow(2, floor(log2(abs(lower_value::double))) - 7) as ulps
    from component_gaps()
    where lower_value <> 0
)

select max(ulps) as ulps
from gaps;
