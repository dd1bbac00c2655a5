"""Pairs of rows that may be nearer than a radius: all that are, and some that aren't. Nothing is decided here.

Projecting on orthonormal directions never lengthens a distance, so whoever is near is near on the leading components.
Two ways to find those, chosen by an estimate of operations, never of seconds:

- `by_tree`: a k-d tree over up to 8 components, where the radius is small for the data;
- `by_blocks`: matrix products over 64 to 256 components (on CUDA over all, in bf16 on its tensor cores), a tile of
  pairs at a time, where the radius is so large that a tree would find nearly everything near.

Both widen the radius by a bound on their own rounding. Where a tile is full of pairs, fp64 products of whole rows
enclose each distance (`ingest.distances.Bounds`), so that most pairs of a dense cluster need no closer look.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ingest.distances import GPU_BYTES, UNIT, Bounds, Ids, blocks
from ingest.geometry import Floats

# Components that a tree may span, and how many near points each point may have there before it spans one more.
TREE_WIDTHS = range(4, 9)
MOST_NEAR = 32
# Points whose pairs with as many others make a tree's batch: 16 million pairs of 24 bytes, were all of them near.
TREE_BATCH = 4_096
# Rows and columns of a tile: its product stays near a CPU's cache; a GPU wants larger ones.
CPU_TILE, GPU_TILE = 2_048, 4_096
# How many components a product may use on a CPU.
WIDTHS = (64, 96, 128, 160, 192, 256)
# Rows converted to fp64 at once, and differences of points held at once.
CHUNK_BYTES, SIFT_BYTES = 64 << 20, 4 << 20
# Costs beside that of one multiplication in an fp32 product, as measured on a CPU: an element of a distance by
# differences, a multiplication in an fp64 product, and a pair that a tree finds.
DIFFERENCE_COST, FP64_COST, TREE_COST = 300, 2, 30_000
# The same in bf16 on a GPU's tensor cores: of the order of their speed, not measured.
TENSOR_COST = 1e-3
# In a tile where a larger share of the pairs is near, a product of whole rows costs less than looking at each.
DENSE = FP64_COST / DIFFERENCE_COST
# Vectors of the sample by which costs are estimated.
N_ESTIMATING = 64
# What keeping a projection in its type, and then a length of differences in it, costs beside the length.
KEPT = {torch.float32: 2.0**-22, torch.float64: 2.0**-50}
# What rounding to the tiles' type moves a point by, beside its norm; twice the bound, as all here.
MOVED = {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-8}
# What a product's rounded output adds to its error, beside the product of the norms.
OUTPUT = {torch.float32: 0.0, torch.bfloat16: 2.0**-8}
# A tensor core may add with truncation in fp32.
FP32_UNIT = 2.0**-23


Given = TypeVar("Given")
Done = TypeVar("Done")


@dataclass(frozen=True)
class Vectors:
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
        return self.W[torch.from_numpy(self.ids[indices].astype(np.int64)).to(self.W.device)]

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Give all rows in fp64, in blocks."""
        for part in blocks(len(self), max(1, CHUNK_BYTES // (8 * self.W.shape[1]))):
            yield part, self.rows(part).double()


@dataclass(frozen=True)
class Pairs:
    """Some pairs of vectors (i, j), each given once, with squared distances from `least` to `most`."""

    i: Ids
    j: Ids
    least: Floats
    most: Floats


class Candidates:
    """Finds the pairs of vectors that may be nearer than a radius."""

    def __init__(self, vectors: Vectors, basis: Floats, leading: Floats) -> None:
        """Take the principal components of W in rows, and the projections on the leading ones `(n_vectors, <=8)`."""
        self.vectors = vectors
        self._basis = basis
        self._leading = torch.from_numpy(leading)

    def within(self, radius: float) -> Iterator[Pairs]:
        """Give every pair at a distance below the radius, among others, in batches of at most a few million."""
        width = self.block_width(radius)
        return self.by_tree(radius) if width is None else self.by_blocks(radius, width)

    def block_width(self, radius: float) -> int | None:
        """Return how many components blocks should use; None where a tree takes fewer operations."""
        n_vectors, n_dims = len(self.vectors), self.vectors.W.shape[1]
        tree = self._n_near(self._leading, radius) * n_dims * DIFFERENCE_COST
        tree += self._n_near(self._leading[:, : self._tree_width(radius)], radius) * TREE_COST
        if tree <= n_vectors**2 * self._widths[0] * self._product_cost:
            return None
        whole = n_vectors**2 * n_dims * FP64_COST
        verifying = self._n_near(self._projected, radius) * n_dims * DIFFERENCE_COST
        costs = {}
        for width in self._widths:
            sifting = self._n_near(self._projected[:, :width], radius) * self._widths[-1] * DIFFERENCE_COST
            costs[width] = n_vectors**2 * width * self._product_cost + min(sifting + verifying, whole)
        best = min(costs, key=costs.__getitem__)
        return best if costs[best] < tree else None

    def by_tree(self, radius: float) -> Iterator[Pairs]:
        """Give the pairs that are near on the leading components: found on the first few, sifted by the rest."""
        reach = self._reach(radius, self._leading)
        points = self._leading.numpy()[:, : self._tree_width(radius)]
        # Batches in a tree's own order are neighbourhoods: most pairs of batches are too far apart to be searched.
        order = cKDTree(points).indices
        batches = [order[part] for part in blocks(len(order), TREE_BATCH)]
        trees = [cKDTree(points[batch]) for batch in batches]
        lows, highs = (np.array([getattr(tree, name) for tree in trees]) for name in ("mins", "maxes"))

        def search(pair: tuple[int, int]) -> Pairs:
            first, second = pair
            if first == second:
                i, j = trees[first].query_pairs(reach, output_type="ndarray").T
            else:
                found = trees[first].sparse_distance_matrix(trees[second], reach, output_type="ndarray")
                i, j = found["i"], found["j"]
            return self._sifted(batches[first][i], batches[second][j], self._leading, reach)

        gaps = (np.maximum(0, np.maximum(lows[a] - highs[a:], lows[a:] - highs[a])) for a in range(len(trees)))
        pairs = (
            (a, int(a + b)) for a, gap in enumerate(gaps) for b in np.flatnonzero((gap**2).sum(axis=1) <= reach**2)
        )
        # SciPy lets go of Python's lock.
        yield from _in_threads(search, pairs)

    def by_blocks(self, radius: float, width: int, dtype: torch.dtype | None = None) -> Iterator[Pairs]:
        """Give the pairs that are near on `width` components, by products of points rounded to `dtype`."""
        W = self.vectors.W
        reach = self._reach(radius, self._projected)
        tiles = _Tiles(self._projected[:, :width], dtype or (torch.bfloat16 if W.is_cuda else torch.float32))
        for first, second, i, j in tiles.within(reach, GPU_TILE if W.is_cuda else CPU_TILE):
            if len(i) < DENSE * len(first) * len(second):
                yield self._sifted(first[i], second[j], self._projected, reach)
                continue
            least, most = Bounds(self.vectors.rows(first)).to(Bounds(self.vectors.rows(second)))
            at = tuple(torch.from_numpy(index).to(W.device) for index in (i, j))
            yield Pairs(first[i], second[j], least[at].cpu().numpy(), most[at].cpu().numpy())

    def _tree_width(self, radius: float) -> int:
        """Return how many components a tree should span: few are searched fast, but find more pairs to sift."""
        widths = [width for width in TREE_WIDTHS if width < self._leading.shape[1]]
        most = MOST_NEAR * len(self.vectors)
        near = (width for width in widths if self._n_near(self._leading[:, :width], radius) <= most)
        return next(near, self._leading.shape[1])

    def _sifted(self, i: Ids, j: Ids, points: Tensor, reach: float) -> Pairs:
        """Return the pairs that are near on all of the points' components."""
        near = []
        n_bytes = GPU_BYTES if points.is_cuda else SIFT_BYTES
        for part in blocks(len(i), max(1, n_bytes // (points.element_size() * points.shape[1]))):
            first, second = (torch.from_numpy(index[part].astype(np.int64)).to(points.device) for index in (i, j))
            differences = points[first].sub_(points[second])
            near.append(torch.linalg.vector_norm(differences, dim=1, dtype=torch.float64).cpu().numpy() <= reach)
        kept = np.concatenate([np.empty(0, dtype=bool), *near])
        i, j = i[kept].astype(np.int32), j[kept].astype(np.int32)
        return Pairs(i, j, np.zeros(len(i)), np.full(len(i), np.inf))

    @property
    def _product_cost(self) -> float:
        return TENSOR_COST if self.vectors.W.is_cuda else 1.0

    @property
    def _widths(self) -> tuple[int, ...]:
        n_dims = self.vectors.W.shape[1]
        if self.vectors.W.is_cuda:
            return (n_dims,)
        return (*(width for width in WIDTHS if width < n_dims), *([n_dims] if n_dims <= WIDTHS[-1] else []))

    @cached_property
    def _projected(self) -> Tensor:
        """Each vector's projections on as many components as blocks may use, in fp32, about the sample's mean."""
        W, width = self.vectors.W, self._widths[-1]
        basis = torch.from_numpy(self._basis[:width]).to(W.device).T
        centre = self.vectors.rows(self.vectors.sample).double().mean(dim=0) @ basis
        points = torch.empty(len(self.vectors), width, dtype=torch.float32, device=W.device)
        for part, rows in self.vectors.blocks():
            points[part] = rows @ basis - centre
        return points

    def _n_near(self, points: Tensor, radius: float) -> float:
        """Estimate, by the sample, how many pairs of points `(n_vectors, k)` are nearer than the radius."""
        few = self.vectors.sample[:N_ESTIMATING].astype(np.int64)
        sample = points[torch.from_numpy(few).to(points.device)]
        n_near = int((torch.cdist(sample, points) < radius).sum()) - len(few)
        return max(n_near, 0) / len(few) * len(points) / 2

    def _reach(self, radius: float, points: Tensor) -> float:
        """Return how far apart the computed points, `(n_vectors, k)`, of two vectors within the radius can be."""
        basis = self._basis[: points.shape[1]]
        n_dims = basis.shape[1]
        gamma = 2 * n_dims * UNIT
        stretch = np.linalg.norm(basis @ basis.T - np.eye(len(basis))) + n_dims * gamma
        # Each point is off by what its k products are, and by being kept in fp32; a centred one may be twice as long.
        off = 2 * (np.sqrt(len(basis)) * gamma + KEPT[points.dtype]) * self.vectors.norms.max()
        return float(radius * (1 + stretch + KEPT[points.dtype]) + 2 * off)


class _Tiles:
    """Points sorted by norm, so that tiles of points too different in norm are passed over, and bounds are close."""

    def __init__(self, points: Tensor, dtype: torch.dtype) -> None:
        norms = torch.linalg.vector_norm(points.double(), dim=1)
        # Scaled by a power of two, so that no square overflows.
        self._scale = 2.0 ** -float(np.ceil(np.log2(max(float(norms.max()), 2.0**-100))))
        self._norms, order = (norms * self._scale).sort()
        self._points = (points[order] * self._scale).to(dtype)
        self._halves = self._points.float().square().sum(dim=1) / 2
        self._order = order.cpu().numpy().astype(np.int32)
        self._relative = (points.shape[1] + 16) * 2 * FP32_UNIT + OUTPUT[dtype]
        self._moved = MOVED[dtype]

    def within(
        self, reach: float, size: int
    ) -> Iterator[tuple[Ids, Ids, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Give, for each tile with any: vectors of its rows, of its columns, and row and column of each near pair."""
        reach *= self._scale
        norms = self._norms.cpu().numpy()
        for first in blocks(len(norms), size):
            for start in range(first.start, len(norms), size):
                second = slice(start, min(start + size, len(norms)))
                farthest = norms[first.stop - 1] + norms[second.stop - 1]
                widened = reach + self._moved * farthest
                if norms[second.start] - norms[first.stop - 1] >= widened:
                    break
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


def _in_threads(work: Callable[[Given], Done], items: Iterable[Given]) -> Iterator[Done]:
    """Give work(item) for each item, in order, a few ahead of who takes them."""
    n_threads = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
    with ThreadPoolExecutor(n_threads) as threads:
        waiting: deque[Future[Done]] = deque()
        for item in items:
            waiting.append(threads.submit(work, item))
            if len(waiting) > (n_threads or 1):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
