-- help: what there is to query, in the words of its comments.
-- Grain: one row per table, view, column and macro of this database.
create view help as
with relations as (
    select
        view_name as name,
        case
            when list_contains(table_names(), view_name) then 'table' else 'view'
        end as kind,
        comment
    from duckdb_views()
    where database_name = current_database() and not internal
),

columns as (
    select
        table_name || '.' || column_name as name,
        'column' as kind,
        data_type as signature,
        comment,
        column_index
    from duckdb_columns()
    where database_name = current_database() and not internal
),

macros as (
    select
        function_name as name,
        'macro' as kind,
        function_name || '(' || array_to_string(parameters, ', ') || ')' as signature,
        comment,
        -- those that give rows first
        (function_type <> 'table_macro')::integer as place
    from duckdb_functions()
    where database_name = current_database() and not internal
),

everything as (
    select
        name,
        kind,
        null as signature,
        comment,
        0 as place
    from relations
    union all
    select
        name,
        kind,
        signature,
        comment,
        column_index as place
    from columns
    union all
    select
        name,
        kind,
        signature,
        comment,
        place
    from macros
)

select
    name,
    kind,
    signature,
    comment
from everything
order by
    array_position(['table', 'view', 'macro', 'column'], kind),
    case when kind = 'macro' then place end,
    split_part(name, '.', 1),
    place,
    name;

comment on view help is
'One row per table, view, macro and column: from help where kind = ''macro''';
comment on column help.name is 'the name; tokens.text for a column';
comment on column help.kind is 'table, view, macro or column';
comment on column help.signature is 'a macro''s parameters; a column''s type';
comment on column help.comment is 'what it means';
