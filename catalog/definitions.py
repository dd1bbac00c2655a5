"""The views and macros of `catalog.duckdb`, which are the same in every catalog: made once, and copied at a publish.

The SQL is read as data: a view for each table, then the files that `queries/manifest.toml` names, in its order. What is
a catalog's own (its files) they read from the macro `catalog_contents`, which each publish writes anew.
"""

import hashlib
import json
import tempfile
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from .contents import FIELD, LETTERS, MEMBER, PART, RECORD, listing
from .quoting import identifier, quoted
from .schemas import MODELS, TABLES, Column, Table, sql_type

# Shells from 1.2 on read it; duckdb 2's own default shuts out every shell before it.
STORAGE_VERSION = "v1.2.0"
# Columns that files of a table lack, and whether all of its files do: {table: {column: all}}.
Lacking = Mapping[str, Mapping[str, bool]]

_QUERIES = Path(__file__).parent.parent / "queries"
_MANIFEST = _QUERIES / "manifest.toml"


def definitions() -> list[Path]:
    """Return the SQL files of views and macros, in the manifest's order."""
    themes: dict[str, list[str]] = tomllib.loads(_MANIFEST.read_text(encoding="utf-8"))
    return [_QUERIES / theme / f"{name}.sql" for theme, names in themes.items() for name in names]


def statements(lacking: Lacking) -> tuple[str, ...]:
    """Return the SQL of every view and macro, for a catalog some of whose files lack columns."""
    views = [_table_view(table, lacking.get(table.name, {})) for table in TABLES]
    return (_CONTENTS, *views, *(path.read_text(encoding="utf-8") for path in definitions()))


def key_of(sql: tuple[str, ...]) -> str:
    """Return the name of these definitions: another version of the product, or of DuckDB, makes others."""
    made_by = [version("token-catalog"), duckdb.__version__, STORAGE_VERSION, *sql]
    return hashlib.sha256(json.dumps(made_by).encode()).hexdigest()[:16]


@lru_cache(maxsize=4)
def database(sql: tuple[str, ...]) -> bytes:
    """Return a database file with these definitions, over an empty catalog."""
    with tempfile.TemporaryDirectory(prefix="token-catalog-") as folder:
        path = Path(folder, "definitions.duckdb")
        write_without_rows(Path(folder))
        with duckdb.connect(":memory:") as connection:
            connection.execute(f"attach {quoted(str(path))} as catalog (storage_version {quoted(STORAGE_VERSION)})")
            # One transaction: each by itself would wait for the disk.
            connection.execute("use catalog; begin")
            connection.execute("set variable catalog_root = $1", [folder])
            for statement in sql:
                connection.execute(statement)
            connection.execute("commit; checkpoint catalog; use memory; detach catalog")
        return path.read_bytes()


def write_without_rows(folder: Path) -> None:
    """Write a file of each table's columns, without a row."""
    for table in TABLES:
        pq.write_table(table.arrow_schema.empty_table(), folder / table.file_name)


def _field(record: str, number: int) -> str:
    return f"split_part({record}, chr({ord(FIELD)}), {number})"


def _members(field: str) -> str:
    return f"string_split({field}, chr({ord(MEMBER)}))"


# Of an empty catalog, whose tables lie in its own folder: what a publish puts its own in the place of.
_EMPTY = listing([], {}, {}, [MODELS.file_name, "."])
_SEPARATORS = "".join(f", chr({ord(c)}), '%{ord(c):02X}')" for c in (RECORD, FIELD, MEMBER, PART))
_ESCAPED = "replace(" * 5 + "name, '%', '%25')" + _SEPARATORS
_RESTORED = (
    "replace(" * 5 + "k" + "".join(f", '%{ord(c):02X}', chr({ord(c)}))" for c in (RECORD, FIELD, MEMBER, PART, "%"))
)

_CONTENTS = f"""
    create macro catalog_root() as getvariable('catalog_root');
    create macro catalog_contents() as {quoted(_EMPTY)};
    create macro escaped_name(name) as {_ESCAPED};
    comment on macro escaped_name is 'a model''s or a series'' name as catalog_contents() has it';
    create macro contents_of(scope) as regexp_extract(
        catalog_contents(), chr({ord(RECORD)}) || regexp_escape(scope) || chr({ord(FIELD)}) || '([^\\x1e]*)', 1
    );
    comment on macro contents_of is 'what the catalog has of all, of series:NAME or of model:NAME';
    create macro contents_in_view() as case
        when getvariable('model') is null and getvariable('series') is null then contents_of('all')
        when getvariable('model') is null then contents_of('series:' || escaped_name(getvariable('series')))
        when getvariable('series') is null
            or list_contains(
                {_members(_field("contents_of('model:' || escaped_name(getvariable('model')))", 3))},
                escaped_name(getvariable('series'))
            ) then contents_of('model:' || escaped_name(getvariable('model')))
        else ''
    end;
    comment on macro contents_in_view is 'what the catalog has of what SET VARIABLE model and series leave in view';
    create macro files_among(contents, table_name, letter) as [
        catalog_root() || '/' || split_part(f, chr({ord(PART)}), 1) || '/' || table_name || '.parquet'
        for f in {_members(_field("contents", 1))}
        if contains(split_part(f, chr({ord(PART)}), 2), letter)
    ];
    comment on macro files_among is 'the Parquet files of a table, whose letter is given, in a part of the contents';
    create macro file_without_rows(table_name) as
        catalog_root() || '/' || {_field("contents_of('catalog')", 2)} || '/' || table_name || '.parquet';
    comment on macro file_without_rows is 'a file of a table''s columns, without a row: read where no model has it';
    create macro files_or_none(files, table_name) as
        case when len(files) = 0 then [file_without_rows(table_name)] else files end;
    comment on macro files_or_none is 'these files; where there is none, the one without rows';
    create macro files_in_view(table_name, letter) as
        files_or_none(files_among(contents_in_view(), table_name, letter), table_name);
    comment on macro files_in_view is 'the Parquet files of a table that SET VARIABLE model and series leave in view';
    create macro is_among(contents, letter) as regexp_matches({_field("contents", 1)}, '\x1c[^\x1d]*' || letter);
    comment on macro is_among is 'whether a part of the contents has a file of a table, whose letter is given';
    create macro keys_among(contents) as [{_RESTORED} for k in {_members(_field("contents", 2))}];
    comment on macro keys_among is 'the models in a part of the contents';
    create macro key_among(model_key, contents) as
        model_key >= list_min(keys_among(contents))
        and model_key <= list_max(keys_among(contents))
        and list_contains(keys_among(contents), model_key);
    comment on macro key_among is
        'whether a model is among these; by its place too, which a Parquet file''s statistics tell';
    create macro row_in_view(model_key) as
        getvariable('model') is null or key_among(model_key, contents_in_view());
    comment on macro row_in_view is
        'whether SET VARIABLE model leaves a row of this model in view, in a file that is in view';
    create macro model_in_view(model_key) as
        row_in_view(model_key)
        and (
            getvariable('series') is null
            or list_contains(
                keys_among(contents_of('series:' || escaped_name(getvariable('series')))), model_key
            )
        );
    comment on macro model_in_view is
        'whether SET VARIABLE model = ''…'' (a model or a name) and series = ''…'' leave it in view; unset, all are';
    create macro dtype_of(model_key) as case
        when not contains({_field("contents_in_view()", 4)}, chr({ord(MEMBER)}))
            then nullif({_field("contents_in_view()", 4)}, '')
        else nullif({_field("contents_of('model:' || escaped_name(model_key))", 4)}, '')
    end;
    comment on macro dtype_of is 'the storage type of a model in view: bf16, fp16 or fp32';
    create macro table_names() as [{", ".join(quoted(table.name) for table in TABLES)}];
    comment on macro table_names is
        'the views that show a table as its Parquet files have it; all other views are made of these';
"""


def _selected(column: Column, lacking: Mapping[str, bool]) -> str:
    """Return how a view selects a column: older files lack the newer."""
    name = identifier(column.name)
    if column.name not in lacking:
        return name
    otherwise = column.otherwise or f"null::{sql_type(column.type)}"
    if not lacking[column.name]:
        otherwise = f"coalesce(stored.{name}, {otherwise})"
    return f"{otherwise} as {name}"


def _table_view(table: Table, lacking: Mapping[str, bool]) -> str:
    """Return the view of one table."""
    name = identifier(table.name)
    columns = ",\n    ".join(_selected(column, lacking) for column in table.columns)
    comments = "\n".join(
        f"comment on column {name}.{identifier(c.name)} is {quoted(c.comment)};" for c in table.columns
    )
    return f"""
        create view {name} as select
    {columns}
{_source(table, lacking)};
        comment on view {name} is {quoted(table.comment)};
        {comments}
    """


def _source(table: Table, lacking: Mapping[str, bool]) -> str:
    """Return where a view's rows come from."""
    if table.name == "models":
        # Of all models, in one file. It says what there is to narrow to, so it alone isn't narrowed.
        file = "catalog_root() || '/' || " + _field("contents_of('catalog')", 1)
        any_model = f"is_among(contents_of('all'), {quoted(LETTERS[table.name])})"
        return f"from read_parquet({file}, hive_partitioning = false) as stored\nwhere {any_model}"
    files = f"files_in_view({quoted(table.name)}, {quoted(LETTERS[table.name])})"
    options = "hive_partitioning = false"
    if lacking:
        # The one without rows has every column, whatever files are in view.
        files = f"list_append({files}, file_without_rows({quoted(table.name)}))"
        options += ", union_by_name = true"
    # Where there is no file, DuckDB knows at once that there are no rows, and asks nothing else.
    there = f"is_among(contents_in_view(), {quoted(LETTERS[table.name])})"
    return f"from read_parquet({files}, {options}) as stored\nwhere {there} and row_in_view(model)"
