"""The mean of some rows of W, each element the fp32 nearest to the exact mean: one answer on every device.

Sums in fp64 carry the bound of `ingest.rounding`; the few elements that it leaves open are summed exactly.
"""

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ingest.distances import Ids, as_index, block_rows, blocks
from ingest.rounding import gamma, rounded_to_odd

# fp32 values are multiples of this.
_FP32_STEP = 2.0**-149


def centroid(W: Tensor, ids: Ids) -> npt.NDArray[np.float32]:
    """Return the mean of rows `ids` (one or more, all finite) of W `(n_tokens, n_dims)`: `(n_dims,)`.

    >>> centroid(torch.tensor([[1.0, 2.0], [5.0, 5.0], [2.0, 2.0]]), np.array([0, 2], np.int32)).tolist()
    [1.5, 2.0]
    """
    n_dims, n_rows = W.shape[1], block_rows(W)
    total, sizes = torch.zeros(2, n_dims, dtype=torch.float64, device=W.device)
    for part in blocks(len(ids), n_rows):
        rows = W[as_index(ids[part], W.device)].double()
        total += rows.sum(dim=0)
        sizes += rows.abs_().sum(dim=0)
    # The longest chain of additions: those of a block, and those of blocks.
    errors = gamma(n_rows + len(ids) // n_rows + 1) * sizes
    low, high = (((total + error) / len(ids)).float().cpu().numpy() for error in (-errors, errors))
    unsettled = np.flatnonzero(low != high)
    for j in unsettled.tolist():
        low[j] = _exact_mean(W[:, j][as_index(ids, W.device)].double().tolist())
    mean: npt.NDArray[np.float32] = low + np.float32(0)
    return mean


def _exact_mean(values: list[float]) -> np.float32:
    """Return the fp32 nearest to the mean of fp32 values."""
    total, n_steps = sum(int(value / _FP32_STEP) for value in values), len(values) * round(1 / _FP32_STEP)
    nearest = total / n_steps  # Python divides integers with one rounding
    rest = Fraction(total, n_steps) - Fraction(nearest)
    return np.float32(rounded_to_odd(nearest, (rest > 0) - (rest < 0)))
