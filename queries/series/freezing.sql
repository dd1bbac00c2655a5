-- freezing: from when on a token's row stands still.
-- Grain: one row per token and series, role and matrix.
-- A row is frozen from the step after which no value of it differs from the step
-- before's: the last one at which it changed, or the first of all. Where that is the
-- last step, nothing is known of what comes after, and it is NULL. What can't be
-- compared (a row that isn't finite, or isn't in `vectors`) counts as a change there,
-- but not in n_changes: a row that is NaN to the end is not frozen.
-- noqa: disable=LT02
create view freezing as
with by_token as (
    select
        series,
        role,
        matrix,
        token_id,
        max(step_number) as n_steps,
        max(step_number) filter (
            where step_number = 1 or changed is distinct from false
        ) as changed_at,
        max(step) filter (
            where step_number = 1 or changed is distinct from false
        ) as frozen_from,
        sum(changed::integer)::integer as n_changes
    from series_rows()
    group by series, role, matrix, token_id
)

select
    r.series,
    r.role,
    r.matrix,
    r.token_id,
    t.text,
    case when r.changed_at < r.n_steps then r.frozen_from end as frozen_from,
    r.n_steps - r.changed_at as n_steps_frozen,
    r.n_changes
from by_token as r
inner join series_steps as s
    on
        r.series = s.series
        and r.role is not distinct from s.role
        and r.matrix is not distinct from s.matrix
        and r.n_steps = s.step_number
inner join tokens as t on s.model = t.model and r.token_id = t.token_id;

comment on view freezing is
'One row per token and series: the step from which on its row stands still to the end.';
comment on column freezing.series is 'the run whose matrices belong together';
comment on column freezing.role is
'what the matrix is in its series, such as m, v or grad; NULL for the weights';
comment on column freezing.matrix is 'tied, input or output; NULL for a bare W';
comment on column freezing.token_id is 'row of W, the same token at every step';
comment on column freezing.text is
'the token''s bytes as UTF-8; NULL where they aren''t UTF-8 by themselves';
comment on column freezing.frozen_from is
'the step at which the row last changed, or the first step where it never did; NULL
where that is the last step, and where the row isn''t finite at the end';
comment on column freezing.n_steps_frozen is
'steps after that one: at each, every value is the step before''s; 0 where frozen_from
is NULL';
comment on column freezing.n_changes is
'steps at which the row differs from the step before''s, of those where both are known
and finite; NULL where there is none';
