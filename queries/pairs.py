"""The pairs of a cluster's different vectors, measured by NumPy and SciPy: what `pairs_within` lists, in seconds.

DuckDB has no function of two lists for the largest or the summed difference, so that its macro goes through each pair
number by number; these are loops of SciPy's, on every processor.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.spatial.distance import cdist

from .session import asked

if TYPE_CHECKING:
    import duckdb

Floats = npt.NDArray[np.float64]
Columns = dict[str, npt.NDArray[np.generic]]

# Different vectors whose pairs are listed: 12.5 million of them, as the macro has it.
MOST_VECTORS = 5000
# Rows that meet all later ones at once: some megabytes of distances.
BLOCK_ROWS = 64

_METRICS: dict[str, Literal["euclidean", "chebyshev", "cityblock"]] = {
    "euclidean": "euclidean",
    "linf": "chebyshev",
    "l1": "cityblock",
}
_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("token_id", pa.int32()),
        ("other_token_id", pa.int32()),
        ("text", pa.string()),
        ("other_text", pa.string()),
        *((name, pa.float64()) for name in ("euclidean", "cosine", "linf", "l1")),
    ]
)


def pairs_within(catalog: Path, name: str, cluster: str) -> pa.Table:
    """Return the rows of the macro `pairs_within`, by model and the two tokens.

    CatalogError where there is no such cluster, or it has more than MOST_VECTORS different vectors.
    """
    with asked(catalog, name) as connection:
        tables = [_pairs(*found) for found in _vectors(connection, cluster)]
    return pa.concat_tables([_SCHEMA.empty_table(), *tables])


def measured(X: Floats) -> Columns:
    """Return the pairs of rows of X `(n_vectors, n_dims)`, i < j, and their metrics; a cosine is NaN with zeros.

    >>> pairs = measured(np.array([[3.0, 4.0], [3.0, 0.0]]))
    >>> {name: column.tolist() for name, column in pairs.items()}
    {'i': [0], 'j': [1], 'euclidean': [4.0], 'linf': [4.0], 'l1': [4.0], 'cosine': [0.6]}
    """
    starts = range(0, len(X), BLOCK_ROWS)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as threads:
        blocks = list(threads.map(partial(_block, X, np.linalg.norm(X, axis=1)), starts))
    return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}


def _block(X: Floats, norms: Floats, start: int) -> Columns:
    """Return the pairs of some rows with all later ones."""
    rows, later = X[start : start + BLOCK_ROWS], X[start:]
    i, j = np.nonzero(np.arange(len(later))[None, :] > np.arange(len(rows))[:, None])
    columns: Columns = {"i": i + start, "j": j + start}
    for name, metric in _METRICS.items():
        columns[name] = cdist(rows, later, metric)[i, j]
    with np.errstate(invalid="ignore"):
        cosines = (rows @ later.T)[i, j] / (norms[i + start] * norms[j + start])
    return columns | {"cosine": np.clip(cosines, -1, 1)}


def _vectors(connection: "duckdb.DuckDBPyConnection", cluster: str) -> Iterator[tuple[pa.Table, Floats]]:
    """Yield each model's different vectors of a cluster: their tokens, and `(n_vectors, n_dims)`."""
    query = "select model, token_id, text, numbers from different_vectors($1, $2) order by model, token_id"
    found = connection.sql(query, params=[cluster, MOST_VECTORS]).to_arrow_table().combine_chunks()
    models = found["model"].to_numpy()
    starts = [i for i in range(len(models)) if i == 0 or models[i] != models[i - 1]]
    for start, end in zip(starts, [*starts[1:], len(models)], strict=True):
        own = found.slice(start, end - start)
        yield own.drop_columns("numbers"), own["numbers"].combine_chunks().flatten().to_numpy().reshape(len(own), -1)


def _pairs(tokens: pa.Table, X: Floats) -> pa.Table:
    """Return the pairs of one model's vectors."""
    columns = measured(X)
    first, second = (tokens.take(columns.pop(key)) for key in ("i", "j"))
    named = {"model": first["model"], "token_id": first["token_id"], "text": first["text"]}
    others = {"other_token_id": second["token_id"], "other_text": second["text"]}
    metrics = {key: pa.array(column, mask=np.isnan(column)) for key, column in columns.items()}
    every = {**named, **others, **metrics}
    return pa.table([every[field.name] for field in _SCHEMA], schema=_SCHEMA)
