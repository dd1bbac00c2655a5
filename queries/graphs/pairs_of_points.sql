-- pairs_of_points: how far the points of a list are from each other, in whatever
-- coordinates they are given: a list of {model, id, numbers}.
-- Grain: one row per pair of points of one model, id < other_id.
-- Side by side in rows of their own, coordinates are compared in a third of the time
-- that lambdas over lists take.
-- noqa: disable=LT02
create macro pairs_of_points(points) as table
with given as materialized (
    select unnest(points) as point
),

numbered as materialized (
    select
        point.model,
        point.id,
        point.numbers::double[] as numbers,
        row_number() over (order by point.model, point.id)::integer as place
    from given
),

compared as not materialized (
    select
        p.place,
        q.place as other_place,
        unnest(p.numbers) as number,
        unnest(q.numbers) as other_number
    from numbered as p
    inner join numbered as q on p.model = q.model and p.place < q.place
),

apart as not materialized (
    select
        place,
        other_place,
        max(abs(number - other_number)) as linf,
        fsum(abs(number - other_number)) as l1,
        sqrt(fsum((number - other_number) * (number - other_number))) as euclidean,
        count(*) filter (where number <> other_number)::integer as n_different
    from compared
    group by place, other_place
)

select
    p.model,
    p.id,
    q.id as other_id,
    a.linf,
    a.l1,
    a.euclidean,
    a.n_different
from apart as a
inner join numbered as p on a.place = p.place
inner join numbered as q on a.other_place = q.place
order by p.model, p.id, q.id;

comment on macro table pairs_of_points is
'of a list of {model, id, numbers}, every pair of a model''s: the largest difference of
two numbers (linf), the sum of all (l1), the Euclidean distance, how many differ';
