"""A minimum spanning forest that grows by batches of edges, and the canonical leaf order of its dendrogram.

A minimum spanning tree holds the single-linkage dendrogram (Gower and Ross, "Minimum spanning trees and single linkage
cluster analysis", 1969), so that no other edge needs keeping; nor does one need measuring that is surely longer than
every edge on the path between its ends.
"""

from itertools import groupby, pairwise
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from ..arithmetic.arrays import Floats, Ids

# Edges that wait to be merged into the forest.
MOST_EDGES = 2 << 20


class Edges(NamedTuple):
    """Edges between vertices i and j, each given once, of positive length."""

    i: Ids
    j: Ids
    length: Floats


class Forest:
    """A minimum spanning forest of the edges added so far."""

    def __init__(self, n_vertices: int) -> None:
        """Begin without edges."""
        self._n = n_vertices
        self._edges = Edges(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))
        self._waiting: list[Edges] = []
        self._n_waiting = 0
        self._bottlenecks = BottleneckPaths(n_vertices, self._edges)

    def add(self, i: Ids, j: Ids, length: Floats) -> None:
        """Add edges, none given before."""
        self._waiting.append(Edges(i, j, length))
        self._n_waiting += len(i)
        if self._n_waiting > MOST_EDGES:
            self._bottlenecks = BottleneckPaths(self._n, self.edges())

    def edges(self) -> Edges:
        """Return the forest's edges."""
        if self._waiting:
            self._edges = _spanning(self._n, self._edges, *self._waiting)
            self._waiting, self._n_waiting = [], 0
        return self._edges

    def could_belong(self, i: Ids, j: Ids, at_least: Floats, at_most: Floats) -> npt.NDArray[np.bool_]:
        """Return which of these edges, not added yet, may belong to the forest, given bounds of their lengths.

        The others are surely longer than every edge on a path between their ends, of edges added before or among these.
        """
        shorter = at_least <= self._bottlenecks.longest(i, j)
        if shorter.sum() > MOST_EDGES // 2 and np.isfinite(at_most).all():
            these = Edges(i[shorter], j[shorter], at_most[shorter])
            self._bottlenecks = BottleneckPaths(self._n, _spanning(self._n, self.edges(), these))
            shorter[shorter] = at_least[shorter] <= self._bottlenecks.longest(these.i, these.j)
        return shorter


class BottleneckPaths:
    """The longest edge on the path between two vertices of a forest: in leaf order, the greatest height between them.

    Greatest heights of 1, 2, 4, … leaves in a row are tabulated, so that two of them answer.
    """

    def __init__(self, n_vertices: int, edges: Edges) -> None:
        self._any = len(edges.i) > 0
        order, height = leaf_order(n_vertices, *edges)
        self._place = np.empty(n_vertices, dtype=np.int64)
        self._place[order] = np.arange(n_vertices)
        levels = [height[order]]
        while 2 ** len(levels) < n_vertices:
            step = 2 ** (len(levels) - 1)
            levels.append(np.maximum(levels[-1], np.append(levels[-1][step:], np.full(step, np.inf))))
        self._greatest = np.stack(levels)

    def longest(self, i: Ids, j: Ids) -> Floats:
        """Return the longest edge on the path from each i to its j, inf where there is none."""
        if not self._any:
            return np.full(len(i), np.inf)
        here, there = self._place[i], self._place[j]
        start, end = np.minimum(here, there), np.maximum(here, there)
        level = np.frexp(end - start)[1] - 1
        longest: Floats = np.maximum(self._greatest[level, start + 1], self._greatest[level, end + 1 - (1 << level)])
        return longest


def _spanning(n_vertices: int, *parts: Edges) -> Edges:
    """Return the edges of a minimum spanning forest of several lots of edges."""
    i, j, length = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    tree = minimum_spanning_tree(coo_array((length, (i, j)), shape=(n_vertices, n_vertices)).tocsr()).tocoo()
    return Edges(tree.row.astype(np.int32), tree.col.astype(np.int32), tree.data)


def leaf_order(n_vertices: int, i: Ids, j: Ids, distance: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the canonical leaf order of a forest's dendrogram, and each vertex's height (inf: the first of a tree).

    Edges of one length make one node with many children; children, and trees, stand in the order of their lowest index.
    So a subtree's first leaf is its lowest index, and its heights say where it merges with what stands before it.

    >>> order, height = leaf_order(4, np.array([0, 2]), np.array([3, 3]), np.array([1.0, 0.5]))
    >>> order.tolist(), height.tolist()
    ([0, 2, 3, 1], [inf, inf, 1.0, 0.5])
    """
    root = list(range(n_vertices))  # union-find: a root is the lowest index of its tree, so its first leaf
    last = list(range(n_vertices))
    following = [-1] * n_vertices
    height = np.full(n_vertices, np.inf)
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
    for leaf in range(n_vertices):
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
