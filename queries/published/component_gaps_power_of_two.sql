-- A gap is the difference of two FLOATs, rounded to a FLOAT.
with gaps as (
    select
        dim,
        (upper_value - lower_value)::double as gap
    from component_gaps()
),

powers as (
    select log2(gap / min(gap) over (partition by dim)) as power
    from gaps
)

select count(*) as n_gaps
from powers
where abs(pow(2, power - round(power)) - 1) < 1e-12;
