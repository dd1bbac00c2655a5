"""Parquet files as DuckDB reads them best: zstd, row groups of thousands of rows, floats split by byte.

A file has the suffix `.part` until it is whole and synced.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from . import schemas
from .disk import sync_file
from .errors import CatalogError

# DuckDB reads a row group per thread and skips those that a filter rules out: 152k tokens are five.
ROW_GROUP = 32_768
# A row group of vectors is held in memory whole, in FLOAT: at most this many rows and bytes.
VECTOR_ROW_GROUP = 16_384
VECTOR_ROW_GROUP_BYTES = 256 << 20

PARTIAL_SUFFIX = ".part"
PROVENANCE_KEY = "token_catalog"

# Few distinct values, long runs: a dictionary makes them nearly free.
_DICTIONARY_COLUMNS = ("model", "kind", "reference", "cluster", "definition", "frame", "weighting", "other")

Columns = Mapping[str, pa.Array | npt.NDArray[np.generic] | list[object]]


def vector_row_group(n_dims: int) -> int:
    """Return how many rows of `n_dims` FLOATs make a row group.

    >>> vector_row_group(2560), vector_row_group(16384)
    (16384, 4096)
    """
    return max(1, min(VECTOR_ROW_GROUP, VECTOR_ROW_GROUP_BYTES // (4 * n_dims)))


def lists_of(matrix: npt.NDArray[np.generic], missing: npt.NDArray[np.bool_] | None = None) -> pa.ListArray:
    """Return a list column whose values are the rows of a `(n_rows, n_dims)` array, NULL where `missing`."""
    n_rows, n_dims = matrix.shape
    offsets = np.arange(0, (n_rows + 1) * n_dims, n_dims, dtype=np.int32)
    values = np.ascontiguousarray(matrix).reshape(-1)
    return pa.ListArray.from_arrays(offsets, values, mask=None if missing is None else pa.array(missing))


class TableWriter:
    """Writes one table of one version: a row group at each `write`, whole at the end of the `with`."""

    def __init__(self, folder: Path, table: schemas.Table, model: str, provenance: str) -> None:
        """Open the file; `provenance` is JSON for the key-value metadata."""
        self._path = folder / table.file_name
        self._partial = self._path.with_name(self._path.name + PARTIAL_SUFFIX)
        self._model = model
        self._schema = table.arrow_schema.with_metadata({PROVENANCE_KEY: provenance})
        self._writer = _writer(self._partial, self._schema)

    def write(self, columns: Columns) -> None:
        """Append rows, given every column but `model`."""
        self._writer.write_table(_arrow_table(self._schema, self._model, columns), row_group_size=ROW_GROUP)

    def write_rows(self, rows: pa.Table) -> None:
        """Append rows with all their columns, of any models, as one row group."""
        self._writer.write_table(rows.cast(self._schema), row_group_size=max(1, len(rows)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            # The footer may not fit on a full disk either: the first error is the one to tell.
            with suppress(OSError):
                self._writer.close()
            return
        self._writer.close()
        sync_file(self._partial)
        self._partial.rename(self._path)


def write_table(folder: Path, table: schemas.Table, model: str, provenance: str, columns: Columns) -> None:
    """Write a whole table at once."""
    with TableWriter(folder, table, model, provenance) as writer:
        writer.write(columns)


def as_rows(table: schemas.Table, model: str, columns: Columns) -> pa.Table:
    """Return a table's rows, given every column but `model`; a column that isn't given is NULL."""
    n_rows = len(next(iter(columns.values())))
    absent = {column.name: pa.nulls(n_rows, column.type) for column in table.columns if column.name not in columns}
    return _arrow_table(table.arrow_schema, model, {**absent, **columns})


def copy_models(path: Path, new: Path, models: Collection[str]) -> None:
    """Write what a table's file has of some models to a new file, as TableWriter would."""
    partial = new.with_name(new.name + PARTIAL_SUFFIX)
    with reading(path), pq.ParquetFile(path) as file, _writer(partial, file.schema_arrow) as writer:
        for group in range(file.num_row_groups):
            rows = of_models(file.read_row_group(group), models)
            if len(rows):
                writer.write_table(rows, row_group_size=len(rows))
    sync_file(partial)
    partial.rename(new)


def of_models(rows: pa.Table, models: Collection[str]) -> pa.Table:
    """Return the rows of some models."""
    return rows.filter(pa.array([model in models for model in rows["model"].to_pylist()], pa.bool_()))


def table_rows(folder: Path, table: schemas.Table) -> pa.Table:
    """Return every row of a table's file, of all its models; a column that an older file lacks is NULL."""
    with _parquet_file(folder, table) as file:
        read = file.read()
        absent = {c.name: pa.nulls(len(read), c.type) for c in table.columns if c.name not in read.column_names}
        arrays = [absent[c.name] if c.name in absent else read[c.name] for c in table.columns]
    return pa.Table.from_arrays(arrays, schema=table.arrow_schema)


def read_columns(folder: Path, table: schemas.Table, model: str | None = None) -> dict[str, pa.Array]:
    """Return every column of a table but `model`: of one model, where the file has several."""
    # Not pq.read_table, which takes as long to import what it needs as all the rest takes.
    with _parquet_file(folder, table) as file:
        names = [column.name for column in table.columns if column.name in file.schema_arrow.names]
        parts = [rows.select([name for name in names if name != "model"]) for rows in _groups(file, names, model)]
        if not parts:
            parts = [file.schema_arrow.empty_table().select([name for name in names if name != "model"])]
        read = pa.concat_tables(parts)
        return {name: read[name].combine_chunks() for name in read.column_names}


def read_row(folder: Path, table: schemas.Table, model: str | None = None) -> dict[str, Any]:
    """Return the first row of a table, of a model or of any, but for `model`."""
    return {name: column[0].as_py() for name, column in read_columns(folder, table, model).items()}


def read_lists(
    folder: Path, table: schemas.Table, column: str, model: str | None = None
) -> Iterator[npt.NDArray[np.generic]]:
    """Yield a column of lists of one length, none NULL, as arrays `(n_rows, length)`: one for each row group.

    Of one model, where the file has several.
    """
    with _parquet_file(folder, table) as file:
        for rows in _groups(file, ["model", column], model):
            lists = rows[column].combine_chunks()
            yield lists.flatten().to_numpy().reshape(len(lists), -1)


def _groups(file: pq.ParquetFile, names: list[str], model: str | None) -> Iterator[pa.Table]:
    """Yield the row groups of a file, or what they have of one model; others' row groups aren't read."""
    at = file.schema_arrow.get_field_index("model")
    for group in range(file.num_row_groups):
        least, most = _least_and_most(file, group, at)
        if model is not None and least is not None and not least <= model <= most:
            continue
        rows = file.read_row_group(group, columns=names)
        if model is not None and not least == most == model:
            rows = of_models(rows, (model,))
        if len(rows):
            yield rows


def _least_and_most(file: pq.ParquetFile, group: int, column: int) -> tuple[Any, Any]:
    """Return the least and the most value of a column in a row group, by its statistics; (None, None) without."""
    # The first leaf: `model` is the first column, and no list.
    statistics = file.metadata.row_group(group).column(column).statistics
    known = statistics is not None and statistics.has_min_max
    return (statistics.min, statistics.max) if known else (None, None)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Yield, and turn the error of a Parquet file that is gone or damaged into one that names the way out."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise CatalogError(
            f"{path}: can't be read ({error}); delete the version's folder, and `rebuild()` goes on without"
        ) from error


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    leaves = {field.name + (".list.element" if pa.types.is_list(field.type) else ""): field.type for field in schema}
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=[name for name in _DICTIONARY_COLUMNS if name in leaves],
        use_byte_stream_split=[
            leaf for leaf, type_ in leaves.items() if pa.types.is_list(type_) or pa.types.is_floating(type_)
        ],
    )


@contextmanager
def _parquet_file(folder: Path, table: schemas.Table) -> Iterator[pq.ParquetFile]:
    with reading(folder), pq.ParquetFile(folder / table.file_name) as file:
        yield file


def _arrow_table(schema: pa.Schema, model: str, columns: Columns) -> pa.Table:
    n_rows = len(next(iter(columns.values())))
    arrays = [
        pa.repeat(pa.scalar(model, field.type), n_rows)
        if field.name == "model"
        else _as_arrow(columns[field.name], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _as_arrow(values: object, type_: pa.DataType) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, np.ma.MaskedArray):
        return pa.array(values.data, type_, mask=np.ma.getmaskarray(values))
    return pa.array(values, type_)
