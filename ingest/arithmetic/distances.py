"""Euclidean distances between rows of W: to the bit where they count, enclosed where a bound settles the matter.

`distances` is the number of catalog/README.md, section 6: differences in fp64, the squares summed by halving the
columns, so that every device adds in one order. `Bounds` encloses it for all pairs of two blocks by one matrix product,
‖a‖² + ‖b‖² - 2ab, which cancels for near rows, and so only ever says "certainly below" or "certainly above".

The bound: a product of n terms, summed in any order, errs by at most γ·Σ|aᵢbᵢ| <= γ·‖a‖·‖b‖ with γ = n·u / (1 - n·u)
(Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., §3.1), and so does each square; the three together by
γ·(‖a‖ + ‖b‖)². The sum that `distances` takes, of differences that fp64 rounds, is within (log₂ n + 5)·u of the exact
one, relatively.

`distances_to` is for every row of W and a few vectors, where the last bit doesn't count: the product, where that bound
is a small enough share of it, and what is nearer by differences.
"""

import numpy as np
import torch
from torch import Tensor

from .arrays import Floats, Ids, as_index, block_rows, blocks
from .bf16 import UNIT_ROUNDOFF, gamma

# The relative error of `distances_to` at most. A root halves its square's, and rounds.
RELATIVE_ERROR = 1e-12
_OF_A_SQUARE = 1.9 * RELATIVE_ERROR


def distances(W: Tensor, i: Ids, j: Ids) -> Floats:
    """Return the distance of row i from row j of W `(n_tokens, n_dims)`, for each of the pairs.

    >>> distances(torch.tensor([[0.0, 0.0, 0.0], [2.0, 3.0, 6.0]]), np.array([0]), np.array([1])).tolist()
    [7.0]
    """
    squares = np.empty(len(i))
    for part in blocks(len(i), block_rows(W)):
        first, second = (as_index(ids[part], W.device) for ids in (i, j))
        squares[part] = pairwise_sum_of_squares(W[first].double().sub_(W[second])).cpu().numpy()
    # Not torch's root: its last bit is wrong for a value in a hundred (2.13, on a CPU). NumPy's is the processor's own.
    return np.sqrt(squares)


def distances_to(rows: Tensor, vectors: Tensor, norms: Tensor | None = None) -> Tensor:
    """Return the distance of each row `(n_rows, n_dims)` from each of the vectors `(n, n_dims)`, `(n_rows, n)`.

    All are fp64, of about fp32's range; `norms` (n_rows,) are the rows', where they are known. It is within
    RELATIVE_ERROR of the exact one, whatever cancels, and 0 from the row itself; NaN or an infinity where a row isn't
    finite.

    >>> distances_to(torch.tensor([[0.0, 0.0], [3.0, 4.0]]).double(), torch.tensor([[3.0, 4.0]]).double()).tolist()
    [[5.0], [0.0]]
    """
    lengths = (torch.linalg.vector_norm(rows, dim=1) if norms is None else norms)[:, None]
    own_lengths = torch.linalg.vector_norm(vectors, dim=1)
    # One vector at a time: the last bit of a product with several depends on how many there are.
    dots = torch.stack([rows @ vector for vector in vectors], dim=1)
    squared = dots.mul_(-2.0).add_(own_lengths**2).add_(lengths**2)
    # γ has room for the rounding of norms and sums.
    settled = gamma(rows.shape[1]) * (lengths + own_lengths).square_() <= _OF_A_SQUARE * squared
    for j, vector in enumerate(vectors):
        near = torch.nonzero(~settled[:, j]).flatten()
        if len(near):
            squared[near, j] = pairwise_sum_of_squares(rows[near].sub_(vector))
    return squared.sqrt_()


def pairwise_sum_of_squares(differences: Tensor) -> Tensor:
    """Return the sum of squares of each row of `(n_pairs, n_dims)`, added by halving the columns; overwrites them.

    The columns count as padded with zeros to a power of two: adding those changes nothing, so they aren't there.
    """
    squares = differences.mul_(differences)
    width = squares.shape[1]
    while width > 1:
        half = 1 << ((width - 1).bit_length() - 1)
        squares[:, : width - half].add_(squares[:, half:width])
        width = half
    return squares[:, 0]


class Bounds:
    """Encloses the squared distances between blocks of rows, each block converted to fp64 once."""

    def __init__(self, rows: Tensor) -> None:
        """Take a block `(n_rows, n_dims)` of any type."""
        self.rows = rows.double()
        self.norms = torch.linalg.vector_norm(self.rows, dim=1)

    def to(self, other: "Bounds") -> tuple[Tensor, Tensor]:
        """Return (least, most) of the squared `distances` from each row to each of another block's, `(n, m)`.

        Squares of fp64 distances, that is: the root's rounding is allowed for, too.
        """
        n_dims = self.rows.shape[1]
        squared = torch.addmm((other.norms**2)[None, :], self.rows, other.rows.T, alpha=-2.0)
        squared += (self.norms**2)[:, None]
        # Twice γ: once for the products, and once for norms, sums and the root, which err by far less.
        slack = (self.norms[:, None] + other.norms[None, :]).square_().mul_(2 * gamma(n_dims))
        relative = (n_dims.bit_length() + 16) * UNIT_ROUNDOFF
        least = (squared - slack).mul_(1 - relative).clamp_(min=0)
        return least, squared.add_(slack).mul_(1 + relative)
