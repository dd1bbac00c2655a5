-- merges: what becomes of the groups of equal rows (duplicate_groups) from a step to
-- the next: born, joined, split, gone.
-- Grain: one row per event of a group: of one there at `step` (born, joined), or of
-- one that was there at `previous_step` (split, gone). A group that stays has none.
--   born:   none of the tokens was in a group before.
--   joined: the tokens come from two rows or more, of which a group had one.
--   gone:   no two of the tokens are equal any more.
--   split:  the tokens are in two rows or more now, and two of them still in one.
-- So a group that loses a token to another group is split, and the other is joined; a
-- part of a split group without newcomers has no row of its own. A token whose row
-- isn't finite is alone. There are no events at the first step.
-- noqa: disable=LT02
create view merges as
with grouped as materialized (
    select
        f.model,
        s.previous_model,
        f.token_id,
        f.duplicate_of,
        coalesce(f.duplicate_count > 1, false) as in_group
    from features as f
    inner join series_steps as s on f.model = s.model
),

-- The tokens that are in a group at a step, or were in one at the step before. A join of
-- two relations, both keys at once: with a third, DuckDB may join by token_id first.
followed as materialized (
    select
        now_.model,
        now_.token_id,
        case when now_.in_group then now_.duplicate_of end as group_now,
        case when before.in_group then before.duplicate_of end as group_before
    from grouped as now_
    inner join grouped as before
        on now_.previous_model = before.model and now_.token_id = before.token_id
    where now_.in_group or before.in_group
),

arriving as (
    select
        model,
        group_now as duplicate_of,
        list(token_id order by token_id) as token_ids,
        list(distinct group_before order by group_before) filter (
            where group_before is not null
        ) as other_groups,
        count(*) - count(group_before) as n_alone
    from followed
    where group_now is not null
    group by model, group_now
),

parts as (
    select
        model,
        group_before as duplicate_of,
        group_now,
        list(token_id) as token_ids,
        count(*) as n_tokens
    from followed
    where group_before is not null
    group by model, group_before, group_now
),

leaving as (
    select
        model,
        duplicate_of,
        list_sort(flatten(list(token_ids))) as token_ids,
        list(group_now order by group_now) filter (
            where group_now is not null
        ) as other_groups,
        coalesce(sum(n_tokens) filter (where group_now is null), 0) as n_alone,
        max(n_tokens) filter (where group_now is not null) as n_together
    from parts
    group by model, duplicate_of
),

events as (
    select
        model,
        case when other_groups is null then 'born' else 'joined' end as event,
        duplicate_of,
        token_ids,
        other_groups,
        n_alone
    from arriving
    where other_groups is null or len(other_groups) + n_alone > 1
    union all
    select
        model,
        case when n_together > 1 then 'split' else 'gone' end as event,
        duplicate_of,
        token_ids,
        other_groups,
        n_alone
    from leaving
    where other_groups is null or len(other_groups) + n_alone > 1
)

select
    s.series,
    s.role,
    s.matrix,
    s.step,
    s.model,
    s.previous_step,
    e.event,
    e.duplicate_of,
    len(e.token_ids)::integer as n_tokens,
    e.n_alone::integer as n_alone,
    coalesce(e.other_groups, []) as other_groups,
    e.token_ids
from events as e
inner join series_steps as s on e.model = s.model
order by s.series, s.role nulls first, s.matrix, s.step, e.event, e.duplicate_of;

comment on view merges is
'One row per group of equal rows that was born, was joined, split, or is gone from a step
of a series to the next.';
comment on column merges.series is 'the run whose matrices belong together';
comment on column merges.role is
'what the matrix is in its series, such as m, v or grad; NULL for the weights';
comment on column merges.matrix is 'tied, input or output; NULL for a bare W';
comment on column merges.step is 'the step by which it has happened';
comment on column merges.model is 'the catalogued matrix of that step';
comment on column merges.previous_step is 'the step before, at which it had not';
comment on column merges.event is
'born (of tokens that were in no group), joined (tokens of several rows, a group among
them, are equal now), split (two or more of a group stay together, not all), gone (no two do)';
comment on column merges.duplicate_of is
'the group''s lowest token_id: of born and joined at step, of split and gone at
previous_step';
comment on column merges.n_tokens is 'tokens in the group';
comment on column merges.n_alone is
'how many of them are in no group on the other side: at previous_step for born and
joined, at step for split and gone';
comment on column merges.other_groups is
'the groups on the other side that have some of them, by their lowest token_ids,
ascending: where to follow the group to';
comment on column merges.token_ids is 'the group''s tokens, ascending';
