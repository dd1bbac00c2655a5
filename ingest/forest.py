"""A minimum spanning forest that grows by batches of edges, and the canonical leaf order of its dendrogram.

A minimum spanning tree holds the single-linkage dendrogram (Gower and Ross, "Minimum spanning trees and single linkage
cluster analysis", 1969), so that no other edge needs keeping.
"""

from itertools import groupby, pairwise
from operator import itemgetter

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from ingest.distances import Ids
from ingest.geometry import Floats

# Edges that wait to be merged into the forest.
MOST_EDGES = 2 << 20


class Forest:
    """A minimum spanning forest of the edges added so far."""

    def __init__(self, n_vectors: int) -> None:
        """Begin without edges."""
        self._n = n_vectors
        self._tree: tuple[Ids, Ids, Floats] = (np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))
        self._waiting: list[tuple[Ids, Ids, Floats]] = []
        self._n_waiting = 0
        self._place: npt.NDArray[np.int64] | None = None
        self._highest = np.empty((0, n_vectors))

    def add(self, i: Ids, j: Ids, distance: Floats) -> None:
        """Add edges, none given before, of positive length."""
        self._waiting.append((i, j, distance))
        self._n_waiting += len(i)
        if self._n_waiting > MOST_EDGES:
            self._merge()
            self._prepare()

    def edges(self) -> tuple[Ids, Ids, Floats]:
        """Return the forest's edges."""
        self._merge()
        return self._tree

    def bottleneck(self, i: Ids, j: Ids) -> Floats:
        """Return the longest edge on the way from i to j in the forest (as it lately was), inf where there is no way.

        In leaf order that is the greatest height between them.
        """
        if self._place is None:
            return np.full(len(i), np.inf)
        ends = np.sort([self._place[i], self._place[j]], axis=0)
        length = ends[1] - ends[0]
        level = np.frexp(length)[1] - 1
        from_start, to_end = ends[0] + 1, ends[1] + 1 - (1 << level)
        greatest: Floats = np.maximum(self._highest[level, from_start], self._highest[level, to_end])
        return greatest

    def _merge(self) -> None:
        if not self._n_waiting:
            return
        i, j, distance = (np.concatenate(parts) for parts in zip(self._tree, *self._waiting, strict=True))
        graph = coo_array((distance, (i, j)), shape=(self._n, self._n))
        tree = minimum_spanning_tree(graph.tocsr()).tocoo()
        self._tree = (tree.row.astype(np.int32), tree.col.astype(np.int32), tree.data)
        self._waiting, self._n_waiting = [], 0

    def _prepare(self) -> None:
        """Tabulate the greatest height among each 1, 2, 4, … leaves in order."""
        order, height = leaf_order(self._n, *self._tree)
        self._place = np.empty(self._n, dtype=np.int64)
        self._place[order] = np.arange(self._n)
        levels = [height[order]]
        while 2 ** len(levels) < self._n:
            step = 2 ** (len(levels) - 1)
            levels.append(np.maximum(levels[-1], np.append(levels[-1][step:], np.full(step, np.inf))))
        self._highest = np.stack(levels)


def leaf_order(n_vectors: int, i: Ids, j: Ids, distance: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the canonical leaf order of a forest's dendrogram, and each vector's height (inf: the first of a tree).

    Edges of one length make one node with many children; children, and trees, stand in the order of their lowest index.
    So a subtree's first leaf is its lowest index, and its heights say where it merges with what stands before it.

    >>> order, height = leaf_order(4, np.array([0, 2]), np.array([3, 3]), np.array([1.0, 0.5]))
    >>> order.tolist(), height.tolist()
    ([0, 2, 3, 1], [inf, inf, 1.0, 0.5])
    """
    root = list(range(n_vectors))  # union-find: a root is the lowest index of its tree, so its first leaf
    last = list(range(n_vectors))
    following = [-1] * n_vectors
    height = np.full(n_vectors, np.inf)
    by_length = np.argsort(distance, kind="stable")
    edges = zip(*(column[by_length].tolist() for column in (distance, i, j)), strict=True)
    for length, node in groupby(edges, key=itemgetter(0)):
        children: dict[int, list[int]] = {}
        for _, a, b in node:
            low, high = sorted((_root(root, a), _root(root, b)))
            root[high] = low
            children.setdefault(low, [low]).extend(children.pop(high, [high]))
        for first, joined in children.items():
            joined.sort()
            for before, child in pairwise(joined):
                following[last[before]] = child
                height[child] = length
            last[first] = last[joined[-1]]
    order = []
    for leaf in range(n_vectors):
        if root[leaf] == leaf:
            while leaf >= 0:
                order.append(leaf)
                leaf = following[leaf]
    return np.array(order), height


def _root(root: list[int], item: int) -> int:
    while root[item] != item:
        root[item] = root[root[item]]
        item = root[item]
    return item
