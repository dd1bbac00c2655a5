"""Builds `catalog.duckdb`: a view for each table, then the views and macros of `queries/`; no data of its own.

The SQL is read as data: the files that `queries/manifest.toml` names, in its order.
"""

import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from . import paths
from .errors import CatalogError
from .quoting import identifier, quoted
from .schemas import MODELS, TABLES, Column, Table, sql_type
from .tables import read_row, reading

# Shells from 1.2 on read it; duckdb 2's own default shuts out every shell before it.
STORAGE_VERSION = "v1.2.0"

_QUERIES = Path(__file__).parent.parent / "queries"
_MANIFEST = _QUERIES / "manifest.toml"


def build_database(path: Path, catalog: Path, versions: Mapping[str, str]) -> None:
    """Write a database file over version folders, given `{model: folder relative to the catalog}`.

    CatalogError where DuckDB can't write it, or a version can't be read.
    """
    about = {model: read_row(catalog / folder, MODELS) for model, folder in versions.items()}
    try:
        _build(path, catalog, versions, about)
    except duckdb.Error as error:
        # In one line: what a full disk says comes in several.
        raise CatalogError(
            f"{path}: can't be built ({' '.join(str(error).split())}); the catalog is as it was"
        ) from error


def _build(path: Path, catalog: Path, versions: Mapping[str, str], about: Mapping[str, dict[str, Any]]) -> None:
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"attach {quoted(str(path))} as catalog (storage_version {quoted(STORAGE_VERSION)})")
        # One transaction: each by itself would wait for the disk.
        connection.execute("use catalog; begin")
        connection.execute(_catalog_root(catalog))
        connection.execute(_model_in_view({model: row["name"] for model, row in about.items()}))
        connection.execute(_dtype_of({model: row["dtype"] for model, row in about.items()}))
        connection.execute(_table_names())
        for table in TABLES:
            folders = [folder for folder in versions.values() if (catalog / folder / table.file_name).exists()]
            connection.execute(_table_view(table, catalog, folders))
        for definition in definitions():
            connection.execute(definition.read_text(encoding="utf-8"))
        # Not left to `detach`, which need not tell that the disk was full.
        connection.execute("commit; checkpoint catalog; use memory; detach catalog")


def definitions() -> list[Path]:
    """Return the SQL files of views and macros, in the manifest's order."""
    themes: dict[str, list[str]] = tomllib.loads(_MANIFEST.read_text(encoding="utf-8"))
    return [_QUERIES / theme / f"{name}.sql" for theme, names in themes.items() for name in names]


def open_sql() -> str:
    """Return the script that opens a catalog wherever its folder was moved."""
    return f"""\
-- duckdb -readonly -init <catalog>/{paths.OPEN_SQL} <catalog>/{paths.DATABASE}
-- Points the views at the Parquet files beside the database that was opened, wherever the folder is now.
set variable catalog_root = (
    select regexp_replace(path, '(/{paths.GENERATIONS}/[^/]+)?/[^/]+$', '')
    from duckdb_databases()
    where database_name = current_database()
);
"""


def _column_names(file: Path) -> list[str]:
    with reading(file):
        names: list[str] = pq.read_schema(file).names
        return names


def _catalog_root(catalog: Path) -> str:
    return f"""
        create macro catalog_root() as coalesce(getvariable('catalog_root'), {quoted(str(catalog))});
        comment on macro catalog_root is
            'the folder that the views read: the variable catalog_root, else where the catalog was built';
    """


def _model_in_view(names: Mapping[str, str]) -> str:
    """Return the macro that narrows every view to `SET VARIABLE model`, which may name several models at once."""
    members: dict[str, list[str]] = {}
    for model, name in names.items():
        if model != name:
            members.setdefault(name, []).append(model)
    branches = "".join(
        f" when {quoted(name)} then [{', '.join(map(quoted, models))}]" for name, models in members.items()
    )
    several = f"case getvariable('model'){branches} else [] end" if branches else "[]"
    return f"""
        create macro model_in_view(model_key) as
            getvariable('model') is null
            or model_key = getvariable('model')
            or list_contains({several}, model_key);
        comment on macro model_in_view is
            'whether SET VARIABLE model = ''…'' (a model or a name) leaves this model in view; unset, all are';
    """


def _dtype_of(dtypes: Mapping[str, str]) -> str:
    """Return the macro that says how a model is stored: a literal, because a join would copy every vector."""
    branches = "".join(f" when {quoted(model)} then {quoted(dtype)}" for model, dtype in dtypes.items())
    return f"""
        create macro dtype_of(model_key) as {f"case model_key{branches} end" if branches else "null::varchar"};
        comment on macro dtype_of is 'the storage type of a model: bf16, fp16 or fp32';
    """


def _table_names() -> str:
    """Return the macro that tells the views of the tables from all others, for `help`."""
    return f"""
        create macro table_names() as [{", ".join(quoted(table.name) for table in TABLES)}];
        comment on macro table_names is
            'the views that show a table as its Parquet files have it; all other views are made of these';
    """


def _selected(column: Column, present: Sequence[Collection[str]]) -> str:
    """Return how a view selects a column, given the columns of each of its files: older ones lack the newer."""
    name = identifier(column.name)
    if present and all(column.name in columns for columns in present):
        return name
    otherwise = (column.otherwise if present else "") or f"null::{sql_type(column.type)}"
    if any(column.name in columns for columns in present):
        otherwise = f"coalesce(stored.{name}, {otherwise})"
    return f"{otherwise} as {name}"


def _table_view(table: Table, catalog: Path, folders: list[str]) -> str:
    """Return the view of one table over the versions that have it: no rows where none has."""
    name = identifier(table.name)
    files = [f"{folder}/{table.file_name}" for folder in folders]
    present = [_column_names(catalog / file) for file in files]
    columns = ",\n    ".join(_selected(column, present) for column in table.columns)
    source = "where false"
    if files:
        listed = ",\n        ".join(f"catalog_root() || {quoted('/' + file)}" for file in files)
        # `models` says what there is to narrow to, so it alone isn't narrowed.
        where = "" if table.name == "models" else "\nwhere model_in_view(model)"
        options = "union_by_name = true, hive_partitioning = false"
        source = f"from read_parquet([\n        {listed}\n    ], {options}) as stored{where}"
    comments = "\n".join(
        f"comment on column {name}.{identifier(c.name)} is {quoted(c.comment)};" for c in table.columns
    )
    return f"""
        create view {name} as select
    {columns}
{source};
        comment on view {name} is {quoted(table.comment)};
        {comments}
    """
