with middle as (
    select list(list_inner_product(p.vector, r.vector::double[]) order by p.pc) as pcs
    from principal_components as p
    inner join reference_vectors as r on p.model = r.model and r.reference = '1.6a'
    where p.pc <= 3
)

select
    [
        min(f.x) - any_value(m.pcs[1]), max(f.x) - any_value(m.pcs[1]),
        min(f.y) - any_value(m.pcs[3]), max(f.y) - any_value(m.pcs[3]),
        min(f.z) - any_value(m.pcs[2]), max(f.z) - any_value(m.pcs[2])
    ] as x_y_z
from features as f
cross join middle as m;
