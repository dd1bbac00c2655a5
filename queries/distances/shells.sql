-- shells: how many tokens are how far from a vector h: shell k has those at distances
-- from k * width, inclusive, to (k + 1) * width.
-- Grain: one row per model in view whose rows are as long as h, and shell with a token.
-- noqa: disable=LT02
create macro shells(h, width) as table
with given as materialized (
    select width_of_bins(width) as shell_width
),

placed as not materialized (
    select
        d.model,
        d.token_id,
        g.shell_width,
        d.distance
    from distances_to(h) as d
    cross join given as g
),

binned as not materialized (
    select
        model,
        token_id,
        shell_width,
        bin_of(distance, shell_width) as shell
    from placed
)

select
    b.model,
    b.shell,
    b.shell * b.shell_width as from_distance,
    (b.shell + 1) * b.shell_width as to_distance,
    count(*)::integer as n_tokens,
    -- Equal rows are in one shell.
    (count(*) filter (where b.token_id = f.duplicate_of))::integer as n_vectors
from binned as b
-- Not `where b.distance is not null`, which would be asked below, and compute it twice.
inner join features as f
    on b.model = f.model and b.token_id = f.token_id and f.norm is not null
group by b.model, b.shell, b.shell_width
order by b.model, b.shell;

comment on macro table shells is
'how many tokens, and different vectors, are at distances from shell * width to below
(shell + 1) * width from a vector h; no row for a shell without one';
