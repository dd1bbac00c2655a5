"""Pairs of rows that may be nearer than a radius: all that are, and some that aren't. Nothing is decided here.

Rows that are near are near on the leading components (`projections`). Two ways to find those pairs, chosen by an
estimate of operations, never of seconds:

- `by_tree`: a k-d tree over up to 8 components, where the radius is small for the data;
- `by_blocks`: matrix products over 16 to 256 components (on CUDA over all, in bf16 on its tensor cores), a tile of
  pairs at a time, where the radius is so large that a tree would find nearly everything near.

Where a tile is full of pairs, fp64 products of whole rows enclose each distance (`arithmetic.distances.Bounds`), so
that most pairs of a dense cluster need no closer look.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from scipy.spatial import cKDTree

from ..arithmetic.arrays import Floats, Ids, blocks
from ..arithmetic.distances import Bounds
from ..report import progress_bar
from .projections import BlockedProducts, DistinctRows, Projections, scale

# Components that a tree may span, and how many near points each point may have there before it spans one more.
TREE_WIDTHS = range(4, 9)
MOST_SEARCHED = TREE_WIDTHS[-1]
MOST_NEAR = 32
# Points whose pairs with as many others make a tree's batch: 4 million pairs of 24 bytes, were all of them near.
TREE_BATCH = 2_048
# Rows and columns of a tile: its product stays near a CPU's cache; a GPU wants larger ones.
CPU_TILE, GPU_TILE = 2_048, 4_096
# How many components a product may use on a CPU.
WIDTHS = (16, 32, 64, 96, 128, 160, 192, 256)
# Costs beside that of one multiplication in an fp32 product, as measured on a CPU: an element of a distance by
# differences, a multiplication in an fp64 product, comparing one of a product's elements, and what a tree does for each
# pair that is near on the fewest components that it may span.
DIFFERENCE_COST, FP64_COST, LOOKING_COST, TREE_COST = 300, 2, 50, 16_000
# The same in bf16 on a GPU's tensor cores: of the order of their speed, not measured.
TENSOR_COST = 1e-3
# In a tile where a larger share of the pairs is near, a product of whole rows costs less than looking at each.
DENSE = FP64_COST / DIFFERENCE_COST

Given = TypeVar("Given")
Done = TypeVar("Done")


@dataclass(frozen=True)
class Pairs:
    """Some pairs of vectors (i, j), each given once, with squared distances from `least` to `most`."""

    i: Ids
    j: Ids
    least: Floats
    most: Floats


class Candidates:
    """Finds the pairs of vectors that may be nearer than a radius."""

    def __init__(self, vectors: DistinctRows, basis: Floats, leading: Floats) -> None:
        """Take the principal components of W in rows, and the projections on the leading ones `(n_vectors, <=8)`."""
        self.vectors = vectors
        self._basis = basis
        self._leading = Projections(torch.from_numpy(leading * scale(vectors)), vectors, basis)

    def within(self, radius: float) -> Iterator[Pairs]:
        """Yield every pair at a distance below the radius, among others, in batches of at most a tile's."""
        width = self.block_width(radius)
        return self.by_tree(radius) if width is None else self.by_blocks(radius, width)

    def block_width(self, radius: float) -> int | None:
        """Return how many components blocks should use; None where a tree takes fewer operations."""
        n_vectors, n_dims = len(self.vectors), self.vectors.W.shape[1]
        tree = self._leading.n_near(radius) * n_dims * DIFFERENCE_COST
        tree += self._leading.first(TREE_WIDTHS[0]).n_near(radius) * TREE_COST
        if tree <= self._products(self._widths[0]):
            return None
        whole = n_vectors**2 * n_dims * FP64_COST
        verifying = self._projected.n_near(radius) * n_dims * DIFFERENCE_COST
        best, least = None, tree
        for width in self._widths:
            if self._products(width) >= least:  # so it is for all wider ones
                break
            sifting = self._projected.first(width).n_near(radius) * self._widths[-1] * DIFFERENCE_COST
            cost = self._products(width) + min(sifting + verifying, whole)
            if cost < least:
                best, least = width, cost
        return best

    def by_tree(self, radius: float) -> Iterator[Pairs]:
        """Yield the pairs that are near on the leading components: found on the first few, sifted by the rest."""
        reach = self._leading.reach(radius)
        points = self._leading.values.numpy()[:, : self._tree_width(radius)]
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
                near = trees[first].sparse_distance_matrix(trees[second], reach, output_type="ndarray")
                i, j = near["i"], near["j"]
            return _unbounded(batches[first][i], batches[second][j], self._leading, reach)

        gaps = (np.maximum(0, np.maximum(lows[a] - highs[a:], lows[a:] - highs[a])) for a in range(len(trees)))
        pairs = [
            (a, int(a + b)) for a, gap in enumerate(gaps) for b in np.flatnonzero((gap**2).sum(axis=1) <= reach**2)
        ]
        # SciPy lets go of Python's lock.
        yield from progress_bar(_in_threads(search, pairs), "linkage", len(pairs))

    def by_blocks(self, radius: float, width: int, dtype: torch.dtype | None = None) -> Iterator[Pairs]:
        """Yield the pairs that are near on `width` components, by products of points rounded to `dtype`."""
        W = self.vectors.W
        reach = self._projected.reach(radius)
        tiles = BlockedProducts(self._projected.first(width), dtype or (torch.bfloat16 if W.is_cuda else torch.float32))
        for first, second, i, j in tiles.within(reach, GPU_TILE if W.is_cuda else CPU_TILE):
            if len(i) < DENSE * len(first) * len(second):
                yield _unbounded(first[i], second[j], self._projected, reach)
                continue
            least, most = Bounds(self.vectors.rows(first)).to(Bounds(self.vectors.rows(second)))
            at = tuple(torch.from_numpy(index).to(W.device) for index in (i, j))
            yield Pairs(first[i], second[j], least[at].cpu().numpy(), most[at].cpu().numpy())

    def _tree_width(self, radius: float) -> int:
        """Return how many components a tree should span: few are searched fast, but find more pairs to sift."""
        n_components = self._leading.values.shape[1]
        most = MOST_NEAR * len(self.vectors)
        widths = (width for width in TREE_WIDTHS if width < n_components)
        return next((width for width in widths if self._leading.first(width).n_near(radius) <= most), n_components)

    def _products(self, width: int) -> float:
        """Return what the tiles' products on so many components cost, and looking at them."""
        unit = TENSOR_COST if self.vectors.W.is_cuda else 1.0
        return len(self.vectors) ** 2 * (width + LOOKING_COST) * unit

    @property
    def _widths(self) -> tuple[int, ...]:
        n_dims = self.vectors.W.shape[1]
        if self.vectors.W.is_cuda:
            return (n_dims,)
        return (*(width for width in WIDTHS if width < n_dims), *([n_dims] if n_dims <= WIDTHS[-1] else []))

    @cached_property
    def _projected(self) -> Projections:
        """The points that blocks may use, on as many components as they may."""
        return Projections.projected(self.vectors, self._basis, self._widths[-1])


def _in_threads(work: Callable[[Given], Done], items: Iterable[Given]) -> Iterator[Done]:
    """Yield work(item) for each item, in order, a few ahead of who takes them."""
    n_threads = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
    with ThreadPoolExecutor(n_threads) as threads:
        waiting: deque[Future[Done]] = deque()
        for item in items:
            waiting.append(threads.submit(work, item))
            if len(waiting) > (n_threads or 1):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _unbounded(i: Ids, j: Ids, points: Projections, reach: float) -> Pairs:
    """Return the pairs that are near on all of the points' components; how far apart they are, nothing tells."""
    near = points.near(i, j, reach)
    i, j = i[near].astype(np.int32), j[near].astype(np.int32)
    return Pairs(i, j, np.zeros(len(i)), np.full(len(i), np.inf))
