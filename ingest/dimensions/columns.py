"""What the values of each column of W are: the least, the most, and how many different ones, exactly.

Columns are sorted, some at a time, as the lattice points of their bf16, or as bits of fp16, in 16 bits, else as they
are. Means and variances are the PCA's, and not computed again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from ..arithmetic.arrays import Floats, Ids, blocks
from ..arithmetic.lattice import mirrored

# Columns held at once, and of these the rows that are turned into columns at once: the latter stay in a cache.
COLUMNS_BYTES = 32 << 20
ROWS_BYTES = 256 << 10

# Of a bf16 model, the values are its lattice points.
ON_A_LATTICE = "bf16"

# Keys: whole numbers of 16 bits, or fp32.
Numbers = npt.NDArray[Any]


@dataclass(frozen=True)
class ColumnValues:
    """The finite rows' values of each column, `(n_dims,)`: the least, the most, and how many different ones.

    `extent` is how many numbers of the type the most is above the least; None of fp32.
    """

    least: Floats
    most: Floats
    n_values: Ids
    extent: Ids | None


def column_values(W: Tensor, finite: npt.NDArray[np.bool_]) -> ColumnValues:
    """Return what the columns of W `(n_tokens, n_dims)` hold in the rows that are `finite`, one or more.

    W is on the CPU: mapped from its file, it is read once. -0.0 is 0.0.

    >>> W = torch.tensor([[-0.0, 1.0], [0.0, 1.0078125], [-1.0, torch.inf]], dtype=torch.bfloat16)
    >>> found = column_values(W, np.array([True, True, False]))
    >>> found.n_values.tolist(), found.most.tolist(), found.extent.tolist()
    ([1, 2], [0.0, 1.0078125], [0, 1])
    """
    least, most, counts = [], [], []
    for column in _columns(W, finite):
        # Of 16 bits, a stable sort is a radix sort; of floats, the default is the quickest.
        column.sort(kind="stable" if column.dtype == np.int16 else None)
        least.append(column[0])
        most.append(column[-1])
        counts.append(1 + np.count_nonzero(column[1:] != column[:-1]))
    ends = np.array(least), np.array(most)
    extent = None if ends[0].dtype != np.int16 else np.subtract(ends[1], ends[0], dtype=np.int32)
    return ColumnValues(_values(ends[0], W.dtype), _values(ends[1], W.dtype), np.array(counts, np.int32), extent)


def dimension_columns(values: ColumnValues, mean: Floats, variances: Floats, dtype: str) -> dict[str, Any]:
    """Return the columns of `dimensions`, given those of W's finite rows: their values, means and variances (1/N)."""
    n_dims = len(mean)
    constant = values.least == values.most  # whose mean has no rounding
    on_lattice = dtype == ON_A_LATTICE
    unknown = pa.nulls(n_dims, pa.int32())
    return {
        "dim": np.arange(n_dims, dtype=np.int32),
        "least": values.least,
        "most": values.most,
        "mean": np.where(constant, values.least, mean) + 0.0,
        "std": np.where(constant, 0.0, np.sqrt(variances)),
        "n_values": values.n_values,
        "n_lattice": values.n_values if on_lattice else unknown,
        "extent_steps": values.extent if on_lattice else unknown,
    }


def _columns(W: Tensor, finite: npt.NDArray[np.bool_]) -> Iterator[Numbers]:
    """Yield the finite rows' keys of each column, in order, each an array that may be changed.

    In NumPy: torch would take all processors for it, while others compute.
    """
    n_tokens, n_dims = W.shape
    stored: Numbers = (W.view(torch.int16) if W.element_size() == 2 else W).numpy()
    n_columns = max(1, COLUMNS_BYTES // (stored.itemsize * n_tokens))
    for part in blocks(n_dims, n_columns):
        held = np.empty((part.stop - part.start, int(finite.sum())), stored.dtype)
        n_rows = max(1, ROWS_BYTES // (stored.itemsize * len(held)))
        start = 0
        for block in blocks(n_tokens, n_rows):
            kept = finite[block]
            # Copied first: turned where they lie far apart, they'd take five times as long.
            rows = np.ascontiguousarray(stored[block, part]) if kept.all() else stored[block, part][kept]
            held[:, start : start + len(rows)] = _keys(np.ascontiguousarray(rows.T))
            start += len(rows)
        yield from held


def _keys(stored: Numbers) -> Numbers:
    """Return numbers that are ordered, and equal, as the values are: of 16 bits, whole ones without a gap."""
    return mirrored(stored) if stored.dtype == np.int16 else stored + np.float32(0)


def _values(keys: Numbers, dtype: torch.dtype) -> Floats:
    """Return the values of keys, in fp64."""
    values: Floats = torch.from_numpy(mirrored(keys) if keys.dtype == np.int16 else keys).view(dtype).double().numpy()
    return values
