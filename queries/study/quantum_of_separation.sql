-- Is there a quantum of separation among the duplicate groups' rows?
-- Asked by 09.1a_bfloat16_quantum_of_separation (box 1): each pair's largest difference
-- in a dimension, as a power of two.
with sites as materialized (
    select v.vector as numbers
    from vectors as v
    inner join duplicate_groups as g on v.token_id = g.duplicate_of
)

select
    log2(list_max(list_transform(
        list_zip(a.numbers, b.numbers), lambda pair: abs(pair[1] - pair[2])
    ))) as power_of_two,
    count(*) as n_pairs
from sites as a
inner join sites as b on a.numbers < b.numbers
group by power_of_two
order by power_of_two;
