"""Rows of bf16 as integers, in each of the study's conventions, and what is between the distinct ones of some tokens.

Nothing is imported from the product. All integers are int64, so that no difference overflows.
"""

from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from tests.support.exact import Floats, Ids
from tests.support.replica_figures import Matrix

Ints = npt.NDArray[np.int64]


def bits_of(rows: Tensor) -> Ints:
    """Return the bits of bf16 values as unsigned integers: sign, 8 of the exponent, 7 of the mantissa.

    >>> [hex(b) for b in bits_of(torch.tensor([1.0, -1.0, 0.0, -0.0, 1.0078125]).bfloat16())]
    ['0x3f80', '0xbf80', '0x0', '0x8000', '0x3f81']
    """
    return rows.contiguous().view(torch.int16).numpy().astype(np.int64) & 0xFFFF


def exponents(bits: Ints) -> Ints:
    """Return the exponent fields."""
    return bits >> 7 & 0xFF


def own_ulps(bits: Ints) -> Ints:
    """Return each value in units of its own last place, x / 2^(max(E, 1) - 134): 128 to 255 where it is normal.

    >>> own_ulps(bits_of(torch.tensor([1.0, 2.0, -1.9921875, 2.0**-133, -0.0]).bfloat16())).tolist()
    [128, 128, -255, 1, 0]
    """
    significands = (bits & 0x7F) + np.where(exponents(bits) > 0, 0x80, 0)
    return np.where(bits >> 15, -significands, significands)


def lattice(bits: Ints) -> Ints:
    """Return each value's place on the ordered line of all bf16: neighbours differ by 1, and both zeros are 0.

    >>> lattice(bits_of(torch.tensor([2.0, 1.9921875, 2.0**-133, 0.0, -0.0, -(2.0**-133)]).bfloat16())).tolist()
    [16384, 16383, 1, 0, 0, -1]
    """
    return np.where(bits >> 15, 0x8000 - bits, bits)


def over_pairs(rows: npt.NDArray[np.generic], measure: Callable[..., npt.NDArray[np.generic]]) -> Floats:
    """Return a measure of |a - b| for each pair of rows (n, n_dims), in the order of `np.triu_indices(n, 1)`."""
    found = [measure(np.abs(rows[i + 1 :] - rows[i]), axis=1) for i in range(len(rows))]
    return np.concatenate([np.zeros(0), *found])


def euclidean(differences: Floats, axis: int) -> Floats:
    """Return norms along an axis."""
    norms: Floats = np.linalg.norm(differences, axis=axis)
    return norms


def pairs_of(n: int) -> Ids:
    """Return the pairs of so many rows, (n(n - 1)/2, 2), the lower first."""
    return np.array(np.triu_indices(n, 1)).T


def components_of(n: int, edges: Ids) -> Ids:
    """Return the component of each of n rows that edges (n_edges, 2) connect."""
    graph = coo_array((np.ones(len(edges), np.int8), edges.T), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def participation_ratio(rows: Floats, counts: Ints) -> float:
    """Return (trace C)² / trace C² of the covariance of rows, each as often as it counts: any divisor cancels.

    >>> participation_ratio(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), np.array([1, 1, 1, 1]))
    2.0
    """
    weights = counts / counts.sum()
    centred = (rows - weights @ rows) * np.sqrt(weights)[:, None]
    products = centred @ centred.T  # its eigenvalues are the covariance's, but for zeros
    return float(products.trace() ** 2 / (products**2).sum())


class Rows:
    """Distinct rows of W: their lowest tokens, how many tokens each has, and their values as integers and in fp64."""

    def __init__(self, W: Tensor, tokens: Ids, counts: Ids) -> None:
        """Take the rows of `tokens`, which are distinct."""
        self.tokens, self.counts = tokens, counts
        self.rows = W[torch.from_numpy(tokens)]

    @classmethod
    def among(cls, matrix: Matrix, tokens: Ids) -> "Rows":
        """Return the distinct rows of ascending tokens, by their lowest."""
        _, at, counts = np.unique(matrix.distinct[2][tokens], return_index=True, return_counts=True)
        order = np.argsort(at)
        return cls(matrix.W, tokens[at[order]], counts[order])

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.tokens)

    @cached_property
    def bits(self) -> Ints:
        """Return their bits, (n, n_dims)."""
        return bits_of(self.rows)

    @cached_property
    def values(self) -> Floats:
        """Return their values, (n, n_dims)."""
        return self.rows.double().numpy()


def listed(numbers: Iterable[int]) -> str:
    """Return integers as text."""
    return " ".join(f"{number:d}" for number in numbers)


def histogram(values: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> str:
    """Return how often each integer occurs, or the sum of its weights, as text.

    >>> histogram([3, 1, 3]), histogram([3, 1, 3], [5, 6, 7])
    ('1:1 3:2', '1:6 3:12')
    """
    found, which = np.unique(np.asarray(values, np.int64), return_inverse=True)
    counts = np.bincount(which, None if weights is None else np.asarray(weights))
    return " ".join(f"{value}:{round(float(n))}" for value, n in zip(found.tolist(), counts.tolist(), strict=True))
