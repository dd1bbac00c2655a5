"""Principal components of W: eigenvectors of the covariance of its finite rows, in fp64, with settled signs.

The covariance is (1/N)·Σ(w-μ)(w-μ)ᵀ, summed in fp64 from chunks, so that memory is a few chunks and n_dims², and that
the leading directions don't depend on the device. Signs follow the contract (catalog/README.md, section 6): μ·PC >= 0,
unless a recipe's `orient` settles them by one token's coordinates.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg.blas import dsyrk
from torch import Tensor

from token_catalog.catalog.errors import CatalogError

from ..arithmetic.arrays import Floats
from ..recipe.recipe import COORDINATES, Orient, Sky
from .scan import Rows, Scan

Chunks = Callable[[], Iterable[Tensor]]

# How many leading components `features.pcs` holds and the accuracy rule covers.
N_LEADING = 8
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

    `eigenvalues` (n_dims,); `vectors` (n_dims, n_dims), a unit vector in each *row*; `mean` (n_dims,); `variances`
    (n_dims,), of each dimension by itself.
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
        neighbours = self.eigenvalues[max(0, pc - 2) : pc + 1]
        return bool(np.abs(np.diff(neighbours)).min() <= DEGENERATE_GAP * self.eigenvalues[0])


def oriented_components(rows: Rows, scan: Scan, sky: Sky) -> PrincipalComponents:
    """Return the principal components of the finite rows, with the signs that the recipe's sky asks for.

    CatalogError where the token that is to settle the signs can't.
    """
    components = principal_components(lambda: rows.finite(scan.finite, "components"), scan.mean, int(scan.finite.sum()))
    if sky.orient:
        _flip_to_signs(components, rows.matrix.row(sky.orient.token), sky, sky.orient)
    return components


def principal_components(chunks: Chunks, mean: Tensor, n_rows: int) -> PrincipalComponents:
    """Return all principal components of the rows that `chunks()` gives as `(n, n_dims)` tensors of any type.

    `mean` (n_dims,) fp64 is their mean, `n_rows` their number.
    """
    covariance = _scatter(chunks, mean) / n_rows
    variances = covariance.diagonal().cpu().numpy().copy()
    if covariance.is_cuda:
        ascending, columns = (t.cpu().numpy() for t in torch.linalg.eigh(covariance))
    else:
        ascending, columns = np.linalg.eigh(covariance.numpy())
    # A covariance has no negative eigenvalue; rounding gives some to a rank-deficient one.
    eigenvalues = np.maximum(ascending[::-1], 0.0)
    vectors = np.ascontiguousarray(columns[:, ::-1].T)
    mean_ = mean.cpu().numpy()
    # A mean that is all rounding (of rows that cancel) settles no sign.
    known = np.linalg.norm(mean_) > MEAN_RESOLUTION * np.sqrt(eigenvalues.sum())
    signed = with_canonical_signs(vectors, mean_ if known else np.zeros_like(mean_))
    return PrincipalComponents(eigenvalues, signed, mean_, variances)


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


def _scatter(chunks: Chunks, mean: Tensor) -> Tensor:
    """Return Σ(w-μ)(w-μ)ᵀ, (n_dims, n_dims). On the CPU, LAPACK's dsyrk does half the work of a full product."""
    n_dims = len(mean)
    if mean.is_cuda:
        total = torch.zeros(n_dims, n_dims, dtype=torch.float64, device=mean.device)
        for rows in chunks():
            on_gpu = rows - mean  # fp64, as mean is
            total.addmm_(on_gpu.T, on_gpu)
        return total
    lower = np.zeros((n_dims, n_dims), order="F")
    for rows in chunks():
        # (n, d) in C order is (d, n) in Fortran order: no copy.
        centred = (rows - mean).numpy().T
        lower = dsyrk(1.0, centred, beta=1.0, c=lower, lower=1, overwrite_c=1)
    return torch.from_numpy(np.tril(lower) + np.tril(lower, -1).T)


def _flip_to_signs(components: PrincipalComponents, row: Tensor, sky: Sky, orient: Orient) -> None:
    """Flip components in place so that one token's coordinates have the signs that the recipe gives."""
    token, w = orient.token, row.double().numpy()
    if not np.isfinite(w).all():
        raise CatalogError(f"recipe: sky.orient.token: row {token} isn't finite, so it can't settle any sign")
    for coordinate, axis in COORDINATES.items():
        vector = components.vectors[getattr(sky, axis) - 1]
        value = float(vector @ w)
        if abs(value) <= SIGN_RESOLUTION * np.linalg.norm(w):
            raise CatalogError(
                f"recipe: sky.orient.{coordinate}: row {token} has {coordinate} = {value:g}, too near to 0 to settle "
                "that sign; give another token"
            )
        if value * orient.signs[coordinate] < 0:
            np.negative(vector, out=vector)
