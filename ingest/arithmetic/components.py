"""Principal components of rows: eigenvectors of their covariance, in fp64, with settled signs.

The covariance is (1/N)·Σ(w-μ)(w-μ)ᵀ, summed in fp64 from chunks, so that memory is a few chunks and n_dims², and that
the leading directions don't depend on the device. Of fewer rows than columns, the products of the rows with each other
are the smaller matrix, and have the same eigenvalues. Signs follow the contract (catalog/README.md, section 6):
μ·PC >= 0.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.linalg.blas import dsyrk
from torch import Tensor

from .arrays import Floats, Ids, as_index, block_rows, blocks

Chunks = Callable[[], Iterable[Tensor]]

# Under this share of ‖μ‖, the sign of μ·PC is rounding, and the largest |component| decides instead.
SIGN_RESOLUTION = 1e-9
# A mean shorter than this share of the rows' spread is fp64's rounding of their sum.
MEAN_RESOLUTION = 1e-13
# Two eigenvalues closer than this share of the largest leave their directions uncertain by 1e-6 rad and more:
# fp64 places a direction within about 1e-15·λ₁/gap, and windows of 0.001° (2e-5 rad) are in use.
DEGENERATE_GAP = 1e-9


@dataclass(frozen=True)
class PrincipalComponents:
    """Principal components by descending eigenvalue.

    `eigenvalues` (n,); `vectors` (n, n_dims), a unit vector in each *row*; `mean` (n_dims,); `variances` (n_dims,),
    of each dimension by itself. n is n_dims, or the number of rows, where they are a subset of fewer.
    """

    eigenvalues: Floats
    vectors: Floats
    mean: Floats
    variances: Floats

    @property
    def variance_shares(self) -> Floats:
        """Each eigenvalue's share of their sum; zeros where all rows are equal."""
        total = self.eigenvalues.sum()
        return self.eigenvalues / total if total > 0 else np.zeros_like(self.eigenvalues)

    def degenerate(self, pc: int) -> bool:
        """Whether component `pc` (from 1) isn't a direction of its own: a neighbour has the same eigenvalue."""
        return is_degenerate(self.eigenvalues, pc)


def is_degenerate(eigenvalues: Floats, pc: int) -> bool:
    """Whether component `pc` (from 1) isn't a direction of its own: a neighbour of its eigenvalue is as large.

    >>> [is_degenerate(np.array([3.0, 2.0, 2.0, 1.0]), pc) for pc in (1, 2, 3, 4)]
    [False, True, True, False]
    """
    neighbours = eigenvalues[max(0, pc - 2) : pc + 1]
    return bool(np.abs(np.diff(neighbours)).min() <= DEGENERATE_GAP * eigenvalues[0])


def principal_components(chunks: Chunks, mean: Tensor, n_rows: int) -> PrincipalComponents:
    """Return all principal components of the rows that `chunks()` gives as `(n, n_dims)` tensors of any type.

    `mean` (n_dims,) fp64 is their mean, `n_rows` their number.
    """
    return _of_covariance(_scatter((rows - mean for rows in chunks()), mean) / n_rows, mean)


def subset_components(W: Tensor, ids: Ids, counts: Ids) -> PrincipalComponents:
    """Return the principal components of rows `ids` of W `(n_tokens, n_dims)`, finite ones, each counted so many times.

    There are min(len(ids), n_dims) of them. Eigenvalues are right to about 1e-15 of the largest.

    >>> W = torch.tensor([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]])
    >>> subset_components(W, np.array([0, 1], np.int32), np.array([1, 4], np.int32)).eigenvalues.tolist()
    [4.0, 0.0]
    """
    total, n_rows = np.zeros(W.shape[1]), int(counts.sum())
    for part in blocks(len(ids), block_rows(W)):
        rows = W[as_index(ids[part], W.device)].double()
        total += (torch.from_numpy(counts[part].astype(np.float64)).to(W.device) @ rows).cpu().numpy()
    mean = torch.from_numpy(total / n_rows).to(W.device)
    centred = _centred(W, ids, counts, mean)
    if len(ids) < W.shape[1]:
        return _of_few(torch.cat([*centred]), n_rows, mean)
    return _of_covariance(_scatter(centred, mean) / n_rows, mean)


def _centred(W: Tensor, ids: Ids, counts: Ids, mean: Tensor) -> Iterator[Tensor]:
    """Yield (w - μ)·√count of rows, in fp64, in blocks."""
    for part in blocks(len(ids), block_rows(W)):
        weights = torch.from_numpy(np.sqrt(counts[part].astype(np.float64))).to(W.device)
        yield (W[as_index(ids[part], W.device)].double() - mean) * weights[:, None]


def _of_covariance(covariance: Tensor, mean: Tensor) -> PrincipalComponents:
    variances = covariance.diagonal().cpu().numpy().copy()
    return _with_signs(*_descending(covariance), mean, variances)


def _of_few(centred: Tensor, n_rows: int, mean: Tensor) -> PrincipalComponents:
    """Return the components of XᵀX/N, of X `(n, n_dims)` with n <= n_dims, from XXᵀ.

    If XXᵀu = λu, then Xᵀu is the direction; one of a small λ has a little of the leading ones in it, by rounding, which
    QR takes out, as it goes in order.
    """
    eigenvalues, left = _descending(centred @ centred.T / n_rows)
    directions, _ = np.linalg.qr((left @ centred.cpu().numpy()).T)
    variances = (centred.square().sum(dim=0) / n_rows).cpu().numpy()
    return _with_signs(eigenvalues, np.ascontiguousarray(directions.T), mean, variances)


def _descending(symmetric: Tensor) -> tuple[Floats, Floats]:
    """Return the eigenvalues of a covariance, descending, and its eigenvectors, in rows."""
    if symmetric.is_cuda:
        ascending, columns = (t.cpu().numpy() for t in torch.linalg.eigh(symmetric))
    else:
        ascending, columns = np.linalg.eigh(symmetric.numpy())
    # A covariance has no negative eigenvalue; rounding gives some to a rank-deficient one.
    return np.maximum(ascending[::-1], 0.0), np.ascontiguousarray(columns[:, ::-1].T)


def _with_signs(eigenvalues: Floats, vectors: Floats, mean: Tensor, variances: Floats) -> PrincipalComponents:
    mean_ = mean.cpu().numpy()
    # A mean that is all rounding (of rows that cancel) settles no sign.
    known = np.linalg.norm(mean_) > MEAN_RESOLUTION * np.sqrt(eigenvalues.sum())
    signed = with_canonical_signs(vectors, mean_ if known else np.zeros_like(mean_))
    return PrincipalComponents(eigenvalues, signed, mean_, variances)


@dataclass(frozen=True)
class Rank:
    """Up to which component the eigenvalues are more than rounding, and the eigenvalue under which they aren't."""

    leading: PrincipalComponents
    tolerance: float


def rank(components: PrincipalComponents, n_rows: int) -> Rank:
    """Return the rank of so many different rows: how many eigenvalues are over λ₁ · max(n_rows, n_dims) · 2⁻⁵²."""
    tolerance = float(components.eigenvalues[0] * max(n_rows, len(components.mean)) * 2.0**-52)
    n = int((components.eigenvalues > tolerance).sum())
    leading = replace(components, eigenvalues=components.eigenvalues[:n], vectors=components.vectors[:n])
    return Rank(leading, tolerance)


def with_canonical_signs(vectors: Floats, mean: Floats) -> Floats:
    """Return unit vectors (in rows), each flipped where need be so that mean · vector >= 0.

    Where that product is below 1e-9·‖mean‖, the component of largest magnitude is made positive (of several as large,
    the first).

    >>> with_canonical_signs(np.array([[-1.0, 0.0], [0.0, -1.0]]), np.array([0.3, 0.0])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    projections = vectors @ mean
    sizes = np.abs(vectors)
    first_largest = (sizes >= sizes.max(axis=1, keepdims=True) * (1 - SIGN_RESOLUTION)).argmax(axis=1)
    largest = np.take_along_axis(vectors, first_largest[:, None], axis=1)[:, 0]
    decided = np.abs(projections) >= SIGN_RESOLUTION * np.linalg.norm(mean)
    signs = np.where(decided & (projections != 0), projections, largest)
    return np.where(signs < 0, -1.0, 1.0)[:, None] * vectors + 0.0


def _scatter(centred: Iterable[Tensor], mean: Tensor) -> Tensor:
    """Return Σ(w-μ)(w-μ)ᵀ, (n_dims, n_dims). On the CPU, LAPACK's dsyrk does half the work of a full product."""
    n_dims = len(mean)
    if mean.is_cuda:
        total = torch.zeros(n_dims, n_dims, dtype=torch.float64, device=mean.device)
        for rows in centred:
            total.addmm_(rows.T, rows)
        return total
    lower = np.zeros((n_dims, n_dims), order="F")
    for rows in centred:
        # (n, d) in C order is (d, n) in Fortran order: no copy.
        lower = dsyrk(1.0, rows.numpy().T, beta=1.0, c=lower, lower=1, overwrite_c=1)
    return torch.from_numpy(np.tril(lower) + np.tril(lower, -1).T)
