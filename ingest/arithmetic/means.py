"""The mean of some rows of W, each element the fp32 nearest to the exact mean: one answer on every device.

Sums in fp64 carry the bound of `bf16`; where it leaves many elements open, as in a matrix whose means nearly
cancel, they are summed in twice the precision; the few that are left, exactly.
"""

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .arrays import Ids, as_index, block_rows, blocks
from .bf16 import UNIT_ROUNDOFF, gamma, rounded_to_odd

# fp32 values are multiples of this.
_FP32_STEP = 2.0**-149
# Elements that are summed exactly without a try in twice the precision, which is a pass over W.
MOST_ALONE = 8


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
    mean, unsettled = _nearest_fp32(total, errors, len(ids))
    if len(unsettled) > MOST_ALONE:
        columns = as_index(unsettled, W.device)
        finer, again = _nearest_fp32(*_compensated(W, ids, columns, sizes[columns]), len(ids))
        mean[unsettled] = finer
        unsettled = unsettled[again]
    for j in unsettled.tolist():
        mean[j] = _exact_mean(W[:, j][as_index(ids, W.device)].double().tolist())
    return mean + np.float32(0)


def _nearest_fp32(total: Tensor, errors: Tensor, n_rows: int) -> tuple[npt.NDArray[np.float32], Ids]:
    """Return the fp32 nearest to the means, given sums and bounds of their errors; and where they leave it open."""
    low, high = (((total + error) / n_rows).float().cpu().numpy() for error in (-errors, errors))
    return low, np.flatnonzero(low != high).astype(np.int32)


def _compensated(W: Tensor, ids: Ids, columns: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Return sums of columns as if in twice fp64's precision, and bounds of their errors.

    Pairs are added with their rounding errors (Knuth's two-sum), and those are added up beside them (Ogita, Rump and
    Oishi, *SIAM Journal on Scientific Computing* 26, 2005). An error is at most u times the terms below it, so all are
    at most u·depth·Σ|terms|, and their own sum is off by γ of that.
    """
    n_rows = block_rows(W)
    total, rest = torch.zeros(2, len(columns), dtype=torch.float64, device=W.device)
    for part in blocks(len(ids), n_rows):
        rows = W[as_index(ids[part], W.device)][:, columns].double()
        while len(rows) > 1:
            half = len(rows) // 2
            sums, errors = _two_sum(rows[:half], rows[half : 2 * half])
            rest += errors.sum(dim=0)
            rows = torch.cat([sums, rows[2 * half :]])
        total, errors = _two_sum(total, rows[0])
        rest += errors
    depth = n_rows.bit_length() + len(ids) // n_rows + 2
    both = total + rest
    return both, gamma(len(ids)) * (2 * UNIT_ROUNDOFF * depth) * sizes + 4 * UNIT_ROUNDOFF * both.abs()


def _two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return a + b rounded, and what rounding lost, exactly."""
    total = a + b
    share = total - a
    return total, (a - (total - share)) + (b - share)


def _exact_mean(values: list[float]) -> np.float32:
    """Return the fp32 nearest to the mean of fp32 values."""
    total = math.fsum(values)
    if math.fsum([*values, -total]):  # fp64 can't hold the sum
        exact = Fraction(sum(int(value / _FP32_STEP) for value in values)) * Fraction(_FP32_STEP)
    else:
        exact = Fraction(total)
    exact /= len(values)
    nearest = exact.numerator / exact.denominator  # Python divides integers with one rounding
    rest = exact - Fraction(nearest)
    return np.float32(rounded_to_odd(nearest, (rest > 0) - (rest < 0)))
