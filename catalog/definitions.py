"""The views and macros of `catalog.duckdb`, which are the same in every catalog: made once, and copied at a publish.

The SQL is read as data: a view for each table, then the files that `queries/manifest.toml` names, in its order. What is
a catalog's own (its files) they read from the macro `catalog_contents`, which each publish writes anew.
"""

import hashlib
import json
import tempfile
import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from .contents import LETTERS, MEMBER, listing
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
    return (_CONTENTS, *views, *map(_sql_of, definitions()))


@cache
def _sql_of(path: Path) -> str:
    """Return a file of views and macros, read once: each publish asks twice for all of them."""
    return path.read_text(encoding="utf-8")


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


# Of an empty catalog, whose tables lie in its own folder: what a publish puts its own in the place of.
_EMPTY = listing([], {}, {}, MODELS.file_name, ".")

_CONTENTS = f"""
    create macro catalog_root() as getvariable('catalog_root');
    create macro catalog_contents() as {quoted(_EMPTY)};
    create macro contents_of(scope, place) as regexp_extract(
        catalog_contents(),
        '\\x1e(?:' || regexp_escape(scope) || '|none)\\x1f(?:[^\\x1e\\x1f]*\\x1f){{' || place || '}}([^\\x1e\\x1f]*)',
        1
    );
    comment on macro contents_of is
        'a field of what the catalog has of all, series:NAME or model:NAME: the tables'' letters, folders, keys, types';
    create macro scope_in_view() as
        coalesce('model:' || getvariable('model'), 'series:' || getvariable('series'), 'all');
    comment on macro scope_in_view is
        'what SET VARIABLE model or series leaves in view, as catalog_contents has it; model goes before series';
    create macro files_of(scope, table_name, letter) as [
        catalog_root() || '/' || f || '/' || table_name || '.parquet'
        for f in regexp_extract_all(contents_of(scope, 1), '([^\\x1c\\x1d]+)\\x1c[^\\x1d]*' || letter, 1)
    ];
    comment on macro files_of is 'the Parquet files of a table, whose letter is given, of all, series:… or model:…';
    create macro row_in_view(model_key) as
        getvariable('model') is null
        or model_key in (getvariable('model'), getvariable('model') || '/input', getvariable('model') || '/output');
    comment on macro row_in_view is 'whether SET VARIABLE model leaves a row in view, in a file that is in view';
    create macro model_in_view(model_key) as
        case
            when getvariable('model') is not null then row_in_view(model_key)
            when getvariable('series') is not null
                then list_contains(string_split(contents_of(scope_in_view(), 2), chr({ord(MEMBER)})), model_key)
            else true
        end;
    comment on macro model_in_view is
        'whether SET VARIABLE model = ''…'' (a model or a name), or else series = ''…'', leaves this model in view';
    create macro dtype_of(model_key) as
        case
            when not contains(contents_of(scope_in_view(), 3), chr({ord(MEMBER)}))
                then nullif(contents_of(scope_in_view(), 3), '')
            else nullif(contents_of('model:' || model_key, 3), '')
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
    letter = quoted(LETTERS[table.name])
    if table.name == MODELS.name:
        # Of all models, in one file. It says what there is to narrow to, so it alone isn't narrowed.
        files, narrowed = "catalog_root() || '/' || contents_of('models', 1)", ""
    else:
        files = f"files_of(scope_in_view(), {quoted(table.name)}, {letter})"
        narrowed = " and row_in_view(model)"
    options = "hive_partitioning = false"
    if lacking and narrowed:
        # The one without rows has every column, whatever files are in view.
        files = f"list_concat({files}, files_of('none', {quoted(table.name)}, {letter}))"
        options += ", union_by_name = true"
    # Where no model has the table, DuckDB knows at once that there are no rows, and asks nothing else.
    return f"from read_parquet({files}, {options}) as stored\nwhere contains(contents_of('all', 0), {letter}){narrowed}"
