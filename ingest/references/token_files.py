"""A recipe's clusters that files name: text, CSV, Parquet, or a tensor as the study's notebooks save them.

Each is read by its format's own library; nothing is unpickled. A tensor is a mask over W's rows or token_ids; a column,
and a text's lines, are token_ids.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from token_catalog.catalog.errors import CatalogError, listed

from ..arithmetic.arrays import Ids
from ..recipe.entries import Cluster, TokenFile
from ..recipe.recipe import Recipe
from ..source.matrix import read_whole_numbers

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


def read_token_files(recipe: Recipe, n_tokens: int) -> tuple[Recipe, dict[str, Ids]]:
    """Return a recipe whose files have their SHA-256, and the tokens of those clusters, ascending, by name.

    CatalogError where a file can't be read, or names what W, of so many rows, hasn't.
    """
    clusters: list[Cluster] = []
    members: dict[str, Ids] = {}
    for cluster in recipe.clusters:
        if cluster.file:
            try:
                file, members[cluster.name] = _read(cluster.file, n_tokens)
            except CatalogError as error:
                raise CatalogError(f"{cluster.key}: {error}") from None
            cluster = replace(cluster, file=file)
        clusters.append(cluster)
    return replace(recipe, clusters=tuple(clusters)), members


def _read(file: TokenFile, n_tokens: int) -> tuple[TokenFile, Ids]:
    path = Path(file.path)
    try:
        with path.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        if file.sha256 not in (None, sha256):
            raise CatalogError(f"{path}: its SHA-256 is {sha256}, and sha256 asks for {file.sha256}: another file")
        values = _values(path, file.part or "")
    except FileNotFoundError:
        raise CatalogError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise CatalogError(f"{path}: can't be read ({' '.join(str(error).split())})") from None
    ids = _of_mask(values, n_tokens, path) if _is_mask(values, n_tokens, path) else _of_ids(values, n_tokens, path)
    return replace(file, sha256=sha256), ids


def _values(path: Path, part: str) -> npt.NDArray[Any]:
    """Return the whole numbers in a file, or true and false, as they stand there."""
    match path.suffix:
        case ".txt":
            return _of_lines(path.read_text(encoding="utf-8-sig").splitlines(), path)
        case ".csv":
            return _of_column(csv.read_csv(path), part, path)
        case ".parquet":
            with pq.ParquetFile(path) as file:
                return _of_column(file.read(columns=[part] if part in file.schema_arrow.names else None), part, path)
        case _:
            return read_whole_numbers(path, part)


def _of_lines(lines: Sequence[str], path: Path) -> npt.NDArray[Any]:
    """Return the number on each line; what follows a # is a comment."""
    numbers = []
    for place, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if text and not _WHOLE_NUMBER.fullmatch(text):
            raise CatalogError(f"{path}: line {place}: {text!r} is no token_id; write one a line")
        numbers += [int(text)] if text else []
    return np.array(numbers, np.int64)


def _of_column(table: pa.Table, column: str, path: Path) -> npt.NDArray[Any]:
    if column not in table.column_names:
        raise CatalogError(f"{path}: no column '{column}'; it has {listed(table.column_names)}; `column` names one")
    if table.column_names.count(column) > 1:
        raise CatalogError(f"{path}: has {table.column_names.count(column)} columns '{column}'; give each its own name")
    values = table[column].combine_chunks()
    if not pa.types.is_integer(values.type) and len(values):
        raise CatalogError(f"{path}: column '{column}' is {values.type}; token_ids are whole numbers")
    if values.null_count:
        raise CatalogError(f"{path}: column '{column}' has rows without a value: {values.null_count:,}")
    numbers: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return numbers


def _is_mask(values: npt.NDArray[Any], n_tokens: int, path: Path) -> bool:
    """Whether these are a 1 or a 0 for each row of W, as the notebooks save a mask; those of a column never are.

    More than two numbers, all 0 or 1, are no token_ids, whatever type they have.
    """
    if path.suffix != ".safetensors" or values.dtype == np.bool_:
        return path.suffix == ".safetensors"
    return (len(values) == n_tokens or len(values) > 2) and bool(((values == 0) | (values == 1)).all())


def _of_mask(mask: npt.NDArray[Any], n_tokens: int, path: Path) -> Ids:
    if len(mask) != n_tokens:
        raise CatalogError(f"{path}: is a mask of {len(mask):,}, and W has {n_tokens:,} rows")
    if not mask.any():
        raise CatalogError(f"{path}: is a mask without a token")
    return np.flatnonzero(mask).astype(np.int32)


def _of_ids(values: npt.NDArray[Any], n_tokens: int, path: Path) -> Ids:
    if not len(values):
        raise CatalogError(f"{path}: has no token_id")
    for worst in (values.min(), values.max()):
        if not 0 <= worst < n_tokens:
            raise CatalogError(f"{path}: {worst} is no token_id: W has rows 0 to {n_tokens - 1}")
    return np.unique(values.astype(np.int32))
