"""Arrays that every room computes with: their types, and blocks of rows that fit a processor's cache."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float64]
# A vector as the catalog stores it.
Vector = npt.NDArray[np.float32]
# token_ids, or other row numbers.
Ids = npt.NDArray[np.int32]

# Rows held at once, in fp64: on a CPU they stay in its cache, a GPU wants work for all its processors.
CPU_BYTES = 4 << 20
GPU_BYTES = 1 << 30


def as_index(ids: Ids, device: torch.device) -> Tensor:
    """Return numbers of rows as torch wants them, to pick rows on a device."""
    return torch.from_numpy(ids.astype(np.int64)).to(device)


def counted(ids: Ids, duplicate_of: Ids) -> tuple[Ids, Ids]:
    """Return the different rows among some, each by the lowest row that is equal to it, and how many of them it is.

    >>> [a.tolist() for a in counted(np.array([1, 2, 3]), np.array([0, 0, 2, 0]))]
    [[0, 2], [2, 1]]
    """
    distinct, counts = np.unique(duplicate_of[ids], return_counts=True)
    return distinct.astype(np.int32), counts.astype(np.int32)


def block_rows(W: Tensor) -> int:
    """Return how many rows of W to hold in fp64 at once, where W is."""
    return max(1, (GPU_BYTES if W.is_cuda else CPU_BYTES) // (8 * W.shape[1]))


def blocks(n_items: int, size: int) -> Iterator[slice]:
    """Yield slices that cut `n_items` into blocks.

    >>> [(block.start, block.stop) for block in blocks(5, 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    for start in range(0, n_items, size):
        yield slice(start, min(start + size, n_items))
