with unbiased as (
    select count(norm) / (count(norm) - 1) as factor
    from features
)

select list(p.eigenvalue * u.factor order by p.pc) as eigenvalues
from principal_components as p
cross join unbiased as u
where p.pc between 6 and 9;
