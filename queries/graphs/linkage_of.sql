-- linkage_of: single linkage of points, by the distances of their pairs: a list of
-- {model, id, other_id, distance}, in which NULL is no edge.
-- Grain: one row per point that is in a pair.
-- By Prim's algorithm: from the lowest id on, the nearest of those not yet joined is
-- joined next (of as near ones, the lowest), at a height. Of that sequence the
-- components at any distance are runs, broken where the height is NULL or more.
-- `left_over`: by place, how near each point is to those joined; NULL where it is one.
-- noqa: disable=LT02
create macro linkage_of(pairs) as table
with recursive given as materialized (
    select unnest(pairs) as pair
),

edges as materialized (
    select
        pair.model,
        unnest([pair.id, pair.other_id]) as id,
        unnest([pair.other_id, pair.id]) as other_id,
        pair.distance::double as apart
    from given
),

points as materialized (
    select
        model,
        id,
        row_number() over (partition by model order by id) as place
    from edges
    group by model, id
),

matrix as materialized (
    select
        p.model,
        p.id,
        p.place,
        list(
            case
                when p.place <> q.place then coalesce(e.apart, 'infinity'::double)
            end
            order by q.place
        ) as distances
    from points as p
    inner join points as q on p.model = q.model
    left join edges as e
        on
            p.model = e.model
            and p.id = e.id
            and q.id = e.other_id
    group by p.model, p.id, p.place
),

joined as (
    select
        model,
        id,
        1 as step,
        null::double as height,
        distances as left_over
    from matrix
    where place = 1
    union all
    select
        m.model,
        m.id,
        j.step + 1 as step,
        j.least as height,
        list_transform(
            j.left_over,
            lambda far, place: case
                when far is not null and m.distances[place] is not null
                    then least(far, m.distances[place])
            end
        ) as left_over
    from (
        select
            model,
            step,
            left_over,
            list_min(left_over) as least
        from joined
    ) as j
    inner join matrix as m
        on j.model = m.model and list_position(j.left_over, j.least) = m.place
    where j.least is not null
)

select
    model,
    id,
    step::integer as linkage_place,
    case when isfinite(height) then height end as height
from joined
order by model, step;

comment on macro table linkage_of is
'single linkage by a list of {model, id, other_id, distance}: components at a
distance are runs of linkage_place, broken where height is NULL or more';
