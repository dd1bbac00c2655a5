"""Builds a generation: `catalog.duckdb`, the definitions copied and what there is written in; and `models.parquet`.

Nothing of it is data of its own: `models.parquet` has the rows of the version folders' own, in one file.
"""

import re
import shutil
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from . import paths
from .contents import Contents, listing, partly_lacking, read_contents
from .definitions import database, key_of, statements, write_without_rows
from .disk import sync_file
from .errors import CatalogError
from .quoting import quoted
from .schemas import MODELS
from .state import State, current_generation
from .tables import of_models, table_rows


@dataclass(frozen=True)
class Built:
    """What a generation was made of: the name of its definitions, and what its folders hold, as JSON has it."""

    definitions: str
    contents: dict[str, Any]


def build_generation(folder: Path, generation: Path, catalog: Path, state: State, before: State) -> Built:
    """Write the database and the rows of `models` of a state into `folder`, which will be `generation`.

    `before` is the state of the current generation, of which what stays is taken over. CatalogError where DuckDB can't
    write it, or a version can't be read.
    """
    folders = sorted({version.folder for version in state.models.values()})
    _check_folders(catalog, folders)
    known = _contents_of(before)
    contents = {path: known.get(path) or read_contents(catalog / path) for path in folders}
    models = _models(catalog, state, before)
    definitions = _defined(catalog, statements(partly_lacking(contents.values())), before.definitions)
    file = folder / MODELS.file_name
    pq.write_table(models, file, compression="zstd")
    sync_file(file)
    text = listing(
        models.select(["model", "name", "series", "dtype"]).to_pylist(),
        {model: version.folder for model, version in state.models.items()},
        contents,
        (generation.relative_to(catalog) / MODELS.file_name).as_posix(),
        Path(paths.DEFINITIONS, definitions).as_posix(),
    )
    try:
        _write_database(folder / paths.DATABASE, catalog, definitions, text)
    except duckdb.Error as error:
        # In one line: what a full disk says comes in several.
        raise CatalogError(
            f"{folder}: can't be built ({' '.join(str(error).split())}); the catalog is as it was"
        ) from error
    return Built(definitions, {path: contents[path].as_dict() for path in folders})


def _check_folders(catalog: Path, folders: Iterable[str]) -> None:
    """Raise CatalogError where a version's folder is gone; what is in it isn't looked at."""
    for folder in folders:
        if not (catalog / folder).is_dir():
            raise CatalogError(f"{catalog / folder}: can't be read (it is gone); `rebuild()` goes on without")


def _contents_of(state: State) -> dict[str, Contents]:
    """Return what a state says of its folders; nothing, where this very version of the product hasn't written it."""
    with suppress(KeyError, TypeError, AttributeError, ValueError):
        contents = {path: Contents.from_dict(told) for path, told in state.contents.items()}
        if state.definitions.startswith(key_of(statements(partly_lacking(contents.values())))):
            return contents
    return {}


def models_table(catalog: Path, state: State) -> pa.Table:
    """Return the rows of `models` of the current generation, which has this state, sorted by model."""
    return _models(catalog, state, state)


def _models(catalog: Path, state: State, before: State) -> pa.Table:
    """Return a state's rows of `models`, sorted: those that stay from the generation before, the others from files."""
    kept = _rows_before(catalog)
    stay = {model for model, version in state.models.items() if before.models.get(model) == version}
    parts = [of_models(kept, stay)]
    new: dict[str, set[str]] = {}
    for model in state.models.keys() - set(parts[0]["model"].to_pylist()):
        new.setdefault(state.models[model].folder, set()).add(model)
    for folder, models in sorted(new.items()):
        parts.append(of_models(table_rows(catalog / folder, MODELS), models))
    return pa.concat_tables(parts).sort_by("model")


def _rows_before(catalog: Path) -> pa.Table:
    """Return the current generation's rows of `models`; none where it is from a version without that file."""
    generation = current_generation(catalog)
    if generation and (generation / MODELS.file_name).exists():
        with suppress(CatalogError):
            return table_rows(generation, MODELS)
    return MODELS.arrow_schema.empty_table()


def _defined(catalog: Path, sql: tuple[str, ...], before: str) -> str:
    """Return the name of a folder with these definitions: the one of the generation before, or one that is made now.

    It has a database with the views and macros, and for each table a file of its columns without a row.
    """
    key = key_of(sql)
    if (
        re.fullmatch(f"{key}-[0-9a-f]{{8}}", before)
        and (catalog / paths.DEFINITIONS / before / paths.DATABASE).exists()
    ):
        return before
    name = f"{key}-{uuid.uuid4().hex[:8]}"
    building = catalog / paths.STAGING / f"{paths.SWAP}{name}"
    building.mkdir(parents=True)
    try:
        (building / paths.DATABASE).write_bytes(database(sql))
        write_without_rows(building)
        for path in (*building.iterdir(), building):
            sync_file(path)
        (catalog / paths.DEFINITIONS).mkdir(exist_ok=True)
        building.rename(catalog / paths.DEFINITIONS / name)
        sync_file(catalog / paths.DEFINITIONS)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return name


def _write_database(path: Path, catalog: Path, definitions: str, text: str) -> None:
    """Copy the definitions' database, and write into it where the catalog is and what there is."""
    shutil.copyfile(catalog / paths.DEFINITIONS / definitions / paths.DATABASE, path)
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"attach {quoted(str(path))} as catalog")
        connection.execute("use catalog; begin")
        connection.execute(f"""
            create or replace macro catalog_root() as coalesce(getvariable('catalog_root'), {quoted(str(catalog))});
            comment on macro catalog_root is
                'the folder that the views read: the variable catalog_root, else where the catalog was built';
            create or replace macro catalog_contents() as {quoted(text)};
            comment on macro catalog_contents is 'the version folders, by model and series, for other macros';
        """)
        # Not left to `detach`, which need not tell that the disk was full.
        connection.execute("commit; checkpoint catalog; use memory; detach catalog")


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
