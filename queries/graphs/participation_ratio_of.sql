-- participation_ratio_of: in about how many directions points spread, each as often as
-- it counts: a list of {model, id, numbers, n_tokens} of one model.
-- It is (tr C)^2 / tr C^2 of their covariance C, by the squared distances of pairs
-- alone: with weights w of sum 1, T the sum of w w d^2 over all ordered pairs, and r
-- the sum of w d^2 from one point, T^2 / (sum of w w d^4 - 2 sum of w r^2 + T^2).
-- NULL where all points are equal. The list is best a subquery of its own: of a column,
-- DuckDB works it out once for each row of the table.
create macro participation_ratio_of(points) as (
    with given as materialized (
        select points as all_points
    ),

    each as (
        select unnest(all_points) as point
        from given
    ),

    counts as materialized (
        select
            point.id,
            point.n_tokens / sum(point.n_tokens) over () as weight
        from each
    ),

    pairs as materialized (
        select
            unnest([id, other_id]) as id,
            unnest([other_id, id]) as other_id,
            euclidean * euclidean as square
        from pairs_of_points((select all_points from given))
    ),

    from_each as (
        select
            c.weight,
            sum(o.weight * p.square) as total,
            sum(o.weight * p.square * p.square) as squares
        from pairs as p
        inner join counts as c on p.id = c.id
        inner join counts as o on p.other_id = o.id
        group by c.id, c.weight
    )

    select
        pow(sum(weight * total), 2) / nullif(
            sum(weight * squares)
            - 2 * sum(weight * total * total)
            + pow(sum(weight * total), 2),
            0
        )
    from from_each
);

comment on macro participation_ratio_of is
'(tr C)^2 / tr C^2 of the covariance C of a list of {model, id, numbers, n_tokens}: in about
how many directions these points spread';
