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

# Columns held at once, and of these the rows that are turned into columns at once: the latter stay in a cache.
COLUMNS_BYTES = 32 << 20
ROWS_BYTES = 512 << 10

# Of a bf16 model, the values are its lattice points.
ON_A_LATTICE = "bf16"


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


def _columns(W: Tensor, finite: npt.NDArray[np.bool_]) -> Iterator[npt.NDArray[Any]]:
    """Yield the finite rows' values of each column, in order, each an array that may be changed."""
    n_tokens, n_dims = W.shape
    n_columns = max(1, COLUMNS_BYTES // (W.element_size() * n_tokens))
    for part in blocks(n_dims, n_columns):
        held = torch.empty(part.stop - part.start, int(finite.sum()), dtype=_key_type(W))
        n_rows = max(1, ROWS_BYTES // (W.element_size() * len(held)))
        start = 0
        for block in blocks(n_tokens, n_rows):
            rows = W[block, part]
            kept = finite[block]
            rows = rows.contiguous() if kept.all() else rows[torch.from_numpy(kept)]
            held[:, start : start + len(rows)] = _keys(rows.T.contiguous())
            start += len(rows)
        yield from held.numpy()


def _key_type(W: Tensor) -> torch.dtype:
    return torch.int16 if W.element_size() == 2 else W.dtype


def _keys(values: Tensor) -> Tensor:
    """Return numbers that are ordered, and equal, as the values are: of 16 bits, whole ones without a gap."""
    if values.element_size() != 2:
        return values + 0.0
    return _mirrored(values.view(torch.int16))


def _mirrored(bits: Tensor) -> Tensor:
    """Return -32768 - b for each b < 0, and the others as they are; done twice, it undoes itself but for -0.0.

    The bits of negative floats go down as their values go up.

    >>> _mirrored(torch.tensor([5, -32768, -32763, -1], dtype=torch.int16)).tolist()
    [5, 0, -5, -32767]
    """
    negative = bits >> 15  # all ones, which is -1, where it is; torch.where takes five times as long
    return (bits ^ (negative & 0x7FFF)) - negative


def _values(keys: npt.NDArray[Any], dtype: torch.dtype) -> Floats:
    """Return the values of keys, in fp64."""
    numbers = torch.from_numpy(keys)
    values: Floats = (_mirrored(numbers).view(dtype) if dtype.itemsize == 2 else numbers).double().numpy()
    return values
