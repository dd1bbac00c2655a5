"""Two models side by side, as Arrow tables, files and a summary: the rows of the macros in `comparing/`."""

import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from token_catalog.catalog.errors import CatalogError

from .session import asked

SUFFIXES = (".parquet", ".csv")

_SIDES = {"matched": "both", "only in A": "only_a", "only in B": "only_b"}
_DISTANCES = {"median distance": "distance", "after the rotation": "aligned_distance"}


def compare_tokens(catalog: Path, model: str, other: str) -> pa.Table:
    """Return the rows of `compare_tokens`, of two models by their keys."""
    return _rows(catalog, "from compare_tokens($1, $2)", model, other)


def matched_tokens(catalog: Path, model: str, other: str) -> pa.Table:
    """Return the tokens that two models have in common: token_a, token_b and ambiguous."""
    query = "select token_a, token_b, ambiguous from matched_tokens($1, $2) where match = 'both'"
    return _rows(catalog, query, model, other)


def summary(rows: pa.Table) -> dict[str, str]:
    """Return what the rows of `compare_tokens` come to, in words and figures.

    >>> rows = {"match": ["both", "only_a"], "ambiguous": [False, True], "equal": [True, None], "distance": [0.5, None]}
    >>> told = summary(pa.table(rows | {"aligned_distance": pa.nulls(2, pa.float64())}))
    >>> ", ".join(f"{words} {figure}" for words, figure in told.items())
    'matched 1, only in A 1, only in B 0, ambiguous 1, equal bit for bit 1, median distance 0.5'
    """
    counts = {words: pc.sum(pc.equal(rows["match"], side)) for words, side in _SIDES.items()}
    counts |= {"ambiguous": pc.sum(rows["ambiguous"]), "equal bit for bit": pc.sum(rows["equal"])}
    medians = {words: pc.quantile(rows[column], 0.5)[0] for words, column in _DISTANCES.items()}
    told = {words: f"{count.as_py():,}" for words, count in counts.items() if count.is_valid}
    return told | {words: f"{median.as_py():.6g}" for words, median in medians.items() if median.is_valid}


def check_suffix(path: Path) -> None:
    """Raise CatalogError where a file's suffix doesn't say how to write rows."""
    if path.suffix.lower() not in SUFFIXES:
        raise CatalogError(f"`output={path}`: is written by its suffix; one of {', '.join(SUFFIXES)}")


def write_rows(rows: pa.Table, path: Path) -> None:
    """Write rows to a file, whole or not at all, as its suffix says."""
    check_suffix(path)
    as_csv = path.suffix.lower() == ".csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".token-catalog-", dir=os.path.abspath(path.parent)) as staging:
        whole = Path(staging, path.name)
        if as_csv:
            csv.write_csv(rows, whole)
        else:
            pq.write_table(rows, whole, compression="zstd")
        whole.replace(path)


def _rows(catalog: Path, query: str, model: str, other: str) -> pa.Table:
    with asked(catalog) as connection:
        return connection.sql(query, params=[model, other]).to_arrow_table()
