"""Orthogonal Procrustes: the rotation that brings the rows of one matrix nearest to matched rows of another.

Both sides less their means, in fp64, without scaling (Schönemann, "A generalized solution of the orthogonal Procrustes
problem", 1966): of AᵀB = USVᵀ, R = UVᵀ makes ‖AR − B‖ least. Where A has fewer columns than B, R has orthonormal rows,
‖AR‖ = ‖A‖ still, and the same R is best; so the narrower is the one that is turned.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from token_catalog.catalog.errors import CatalogError

from ..arithmetic.arrays import Floats, Ids, as_index, block_rows, blocks


@dataclass(frozen=True)
class MatchedRows:
    """Rows of two matrices that belong together: row numbers `own` and `other` (n,); `fitted` (n,), which to fit."""

    own: Ids
    other: Ids
    fitted: "np.ndarray[tuple[int], np.dtype[np.bool_]]"

    def to_fit(self) -> "MatchedRows":
        """Return those to fit to."""
        return MatchedRows(self.own[self.fitted], self.other[self.fitted], self.fitted[self.fitted])

    def turned_round(self) -> "MatchedRows":
        """Return them with the sides changed."""
        return MatchedRows(self.other, self.own, self.fitted)


@dataclass(frozen=True, eq=False)
class Rotation:
    """A rotation R `(n_dims, other_n_dims)`, n_dims <= other_n_dims, of rows less `mean` onto rows less `other_mean`.

    `n_directions` is the rank of AᵀB: where it is less than n_dims, R isn't the only one that is best. `scale` is what
    AR would be multiplied with best; `other_norm` is ‖B‖.
    """

    R: Tensor
    mean: Tensor
    other_mean: Tensor
    n_directions: int
    scale: float
    other_norm: float


@dataclass(frozen=True, eq=False)
class Alignment:
    """What is left between matched rows after the rotation: `distances` and `cosines` (n,), NaN for no cosine.

    `residual` is ‖AR − B‖ over the rows that were fitted, `relative` its share of the norm of what wasn't turned.
    """

    rotation: Rotation
    residual: float
    relative: float
    distances: Floats
    cosines: Floats


def align(W: Tensor, other: Tensor, rows: MatchedRows) -> Alignment:
    """Turn the narrower of two matrices (of two as wide, W) onto the other, by rows that are finite; fp64 throughout.

    CatalogError where there are not two rows to fit to, or those of a side are all equal.
    """
    if W.shape[1] > other.shape[1]:
        return align(other, W, rows.turned_round())
    rotation = _fit(W, other, rows.to_fit())
    distances, cosines = _left(W, other, rows, rotation)
    residual = float(np.sqrt(np.square(distances[rows.fitted]).sum()))
    return Alignment(rotation, residual, residual / rotation.other_norm, distances, cosines)


def _fit(W: Tensor, other: Tensor, rows: MatchedRows) -> Rotation:
    """Return the rotation of rows of W onto rows of `other`."""
    n_rows = len(rows.own)
    if n_rows < 2:
        raise CatalogError(
            f"{n_rows} tokens to fit a rotation to: of both, not ambiguous, with finite rows; it needs 2"
        )
    mean, other_mean = _mean(W, rows.own), _mean(other, rows.other)
    cross = torch.zeros(W.shape[1], other.shape[1], dtype=torch.float64, device=W.device)
    squares = np.zeros(2)
    for a, b in _pairs(W, other, rows):
        a, b = a - mean, b - other_mean
        cross.addmm_(a.T, b)
        squares += [float(a.square().sum()), float(b.square().sum())]
    if not squares.all():
        raise CatalogError(f"the rows of {n_rows} tokens of both are all equal in one of the models; nothing to turn")
    U, singular, Vh = torch.linalg.svd(cross, full_matrices=False)
    least = singular[0] * max(n_rows, *cross.shape) * 2.0**-52
    n_directions = int((singular > least).sum())
    scale = float(singular.sum()) / float(squares[0])
    return Rotation(U @ Vh, mean, other_mean, n_directions, scale, float(np.sqrt(squares[1])))


def _left(W: Tensor, other: Tensor, rows: MatchedRows, rotation: Rotation) -> tuple[Floats, Floats]:
    """Return the distance and the cosine of each pair of rows after the rotation."""
    distances, cosines = [], []
    for a, b in _pairs(W, other, rows):
        a, b = (a - rotation.mean) @ rotation.R, b - rotation.other_mean
        distances.append((a - b).norm(dim=1).cpu().numpy())
        # 0 / 0 is NaN.
        cosines.append(((a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))).clamp(-1, 1).cpu().numpy())
    return np.concatenate(distances), np.concatenate(cosines)


def _mean(W: Tensor, ids: Ids) -> Tensor:
    """Return the mean of rows of W, `(n_dims,)`."""
    total = torch.zeros(W.shape[1], dtype=torch.float64, device=W.device)
    for part in blocks(len(ids), block_rows(W)):
        total += W[as_index(ids[part], W.device)].double().sum(dim=0)
    return total / len(ids)


def _pairs(W: Tensor, other: Tensor, rows: MatchedRows) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield matched rows in fp64, in blocks, where W is."""
    for part in blocks(len(rows.own), block_rows(other)):
        a, b = W[as_index(rows.own[part], W.device)], other[as_index(rows.other[part], other.device)]
        yield a.double(), b.to(W.device).double()
