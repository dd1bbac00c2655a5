"""Distinct rows of W, and their projections on principal components as points that are searched for near pairs.

Orthogonal projection is a contraction: rows that are near in W are near among the points. What rounding can do to that
is bounded, and widens the radius: a pair may be found that isn't near, none is missed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..arithmetic.arrays import GPU_BYTES, Floats, Ids, as_index, blocks
from ..arithmetic.bf16 import UNIT_ROUNDOFF
from ..report import progress_bar

# Rows converted to fp64 at once, and differences of points held at once.
CHUNK_BYTES, SIFT_BYTES = 64 << 20, 4 << 20
# Vectors of the sample by which costs are estimated.
N_ESTIMATING = 64
# What keeping a point in its type, and then a length of differences in it, costs: points are no longer than 1.
KEPT = {torch.float32: 2.0**-22, torch.float64: 2.0**-50}
# What rounding to the tiles' type moves a point by, beside its norm; twice the bound, as all here.
MOVED = {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-7}
# What a product's rounded output adds to its error, beside the product of the norms.
OUTPUT = {torch.float32: 0.0, torch.bfloat16: 2.0**-8}
# A tensor core may add with truncation in fp32.
FP32_UNIT = 2.0**-23


@dataclass(frozen=True)
class DistinctRows:
    """The distinct finite rows of W; here a vector is known by its index among them.

    `W` (n_tokens, n_dims) as stored; `ids` (n_vectors,) the lowest token_id of each, ascending; `counts` (n_vectors,)
    how many tokens share it; `norms` (n_vectors,); `sample`, indices of a few hundred that stand for all.
    """

    W: Tensor
    ids: Ids
    counts: Ids
    norms: Floats
    sample: Ids

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, indices: Ids | slice) -> Tensor:
        """Return rows as stored, `(n, n_dims)`."""
        return self.W[as_index(self.ids[indices], self.W.device)]

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield all rows in fp64, in blocks."""
        for part in blocks(len(self), max(1, CHUNK_BYTES // (8 * self.W.shape[1]))):
            yield part, self.rows(part).double()


class Projections:
    """Projections of the vectors on leading components, scaled by a power of two so that no vector is longer than 1.

    `values` (n_vectors, k), fp64 or fp32, on the device of W.
    """

    def __init__(self, values: Tensor, vectors: DistinctRows, basis: Floats) -> None:
        """Take points scaled by `scale(vectors)`, and the components `(>=k, n_dims)` in rows that they lie on."""
        self.values = values
        self._vectors = vectors
        self._basis = basis[: values.shape[1]]

    @staticmethod
    def projected(vectors: DistinctRows, basis: Floats, width: int) -> "Projections":
        """Project on `width` components, about the sample's mean, in fp32."""
        W = vectors.W
        directions = torch.from_numpy(basis[:width]).to(W.device).T * scale(vectors)
        centre = vectors.rows(vectors.sample).double().mean(dim=0) @ directions
        values = torch.empty(len(vectors), width, dtype=torch.float32, device=W.device)
        for part, rows in vectors.blocks():
            values[part] = rows @ directions - centre
        return Projections(values, vectors, basis)

    def first(self, width: int) -> "Projections":
        """Return the points on the first components only."""
        return Projections(self.values[:, :width], self._vectors, self._basis)

    def reach(self, radius: float) -> float:
        """Return how far apart the points of two vectors within the radius can be."""
        n_components, n_dims = self._basis.shape
        gamma, kept = 2 * n_dims * UNIT_ROUNDOFF, KEPT[self.values.dtype]
        stretch = np.linalg.norm(self._basis @ self._basis.T - np.eye(n_components)) + n_dims * gamma
        # Each point is off by what its products are, and by being kept in its type; about a centre it may be 2 long.
        off = 2 * (np.sqrt(n_components) * gamma + kept)
        return float(radius * scale(self._vectors) * (1 + stretch + kept) + 2 * off)

    def n_near(self, radius: float) -> float:
        """Estimate, by the sample, how many pairs are nearer than the radius."""
        few = as_index(self._vectors.sample[:N_ESTIMATING], self.values.device)
        near = torch.cdist(self.values[few], self.values) < radius * scale(self._vectors)
        return max(int(near.sum()) - len(few), 0) / len(few) * len(self.values) / 2

    def near(self, i: Ids, j: Ids, reach: float) -> npt.NDArray[np.bool_]:
        """Return for each pair whether its points are no farther apart than this."""
        is_near = [np.empty(0, dtype=bool)]
        n_bytes = GPU_BYTES if self.values.is_cuda else SIFT_BYTES
        for part in blocks(len(i), max(1, n_bytes // (self.values.element_size() * self.values.shape[1]))):
            first, second = (as_index(ids[part], self.values.device) for ids in (i, j))
            differences = self.values[first].sub_(self.values[second])
            is_near.append(torch.linalg.vector_norm(differences, dim=1, dtype=torch.float64).cpu().numpy() <= reach)
        return np.concatenate(is_near)


def scale(vectors: DistinctRows) -> float:
    """Return the power of two by which no vector is longer than 1, and the longest more than 1/2."""
    longest = float(vectors.norms.max())
    return 2.0 ** -float(np.frexp(longest)[1]) if longest else 1.0


class BlockedProducts:
    """Points sorted by norm, so that tiles of points too different in norm are passed over, and bounds are close."""

    def __init__(self, points: Projections, dtype: torch.dtype) -> None:
        """Round the points to bf16 or fp32."""
        values = points.values
        norms, order = torch.linalg.vector_norm(values, dim=1, dtype=torch.float64).sort()
        self._norms = norms.cpu().numpy()
        self._order = order.cpu().numpy().astype(np.int32)
        self._points = values.new_empty(values.shape, dtype=dtype)
        self._halves = values.new_empty(len(values), dtype=torch.float32)
        for part in blocks(len(values), max(1, CHUNK_BYTES // (4 * values.shape[1]))):
            self._points[part] = values[order[part]].to(dtype)
            self._halves[part] = self._points[part].float().square().sum(dim=1) / 2
        self._relative = (values.shape[1] + 16) * 2 * FP32_UNIT + OUTPUT[dtype]
        self._moved = MOVED[dtype]

    def within(
        self, reach: float, size: int
    ) -> Iterator[tuple[Ids, Ids, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Give, for each tile with any: vectors of its rows, of its columns, and row and column of each near pair."""
        parts = list(blocks(len(self._norms), size))
        tiles = [(first, second) for a, first in enumerate(parts) for second in parts[a:]]
        for first, second in progress_bar(tiles, "linkage", len(tiles)):
            # In a tile, norms are from its first row's to its last row's.
            farthest = self._norms[first.stop - 1] + self._norms[second.stop - 1]
            widened = reach + self._moved * farthest
            if self._norms[second.start] - self._norms[first.stop - 1] >= widened:
                continue
            limit = widened**2 + self._relative * farthest**2
            with _adding_in_fp32():
                products = torch.mm(self._points[first], self._points[second].T).float()
            near = products.sub_(self._halves[second]) > (self._halves[first] - limit / 2)[:, None]
            if near.any():
                i, j = np.divmod(np.flatnonzero(near.cpu().numpy()), near.shape[1])
                once = (i < j) | (first.start < second.start)
                yield self._order[first], self._order[second], i[once], j[once]


@contextmanager
def _adding_in_fp32() -> Iterator[None]:
    """Keep CUDA from adding parts of a bf16 product in bf16, as it may by default."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_bf16_reduced_precision_reduction
    matmul.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        matmul.allow_bf16_reduced_precision_reduction = before
