"""Single linkage: which rows of W are joined at every distance up to a radius.

Pairs of vectors that may be near come in batches (`candidates`); what they change is kept, no pair longer than
needed (`spanning_forest`). Pure functions of arrays.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arithmetic.arrays import Floats, Ids, blocks
from ..arithmetic.bf16 import UNIT_ROUNDOFF
from ..arithmetic.distances import Bounds, distances
from .candidates import Pairs
from .projections import DistinctRows
from .spanning_forest import Forest, leaf_order

# Pairs whose bounds are held at once for a diameter.
MOST_BOUNDS = 4 << 20
# A component of more vectors has no diameter (catalog/README.md, section 3).
MOST_FOR_DIAMETER = 5_000


@dataclass(frozen=True)
class Linkage:
    """What linking found, for each vector.

    `order`, indices in the dendrogram's leaf order; `height`, by index, at which a vector merges with what stands
    before it in that order, inf where not below the radius; `n_neighbors`, tokens of other vectors nearer than the
    threshold; `nearest` and `nearest_distance`, the nearest other vector's index (-1 and inf where none is below the
    radius).
    """

    order: npt.NDArray[np.int64]
    height: Floats
    n_neighbors: npt.NDArray[np.int64]
    nearest: Ids
    nearest_distance: Floats

    def components(self, distance: float) -> npt.NDArray[np.int64]:
        """Return, for each vector, the lowest index in its component at a distance."""
        starts = self.height[self.order] >= distance
        lowest = np.empty_like(self.order)
        # A run's first leaf is its lowest index.
        lowest[self.order] = self.order[starts][np.cumsum(starts) - 1]
        return lowest


def single_linkage(vectors: DistinctRows, batches: Iterable[Pairs], radius: float, threshold: float) -> Linkage:
    """Link vectors, given every pair nearer than the radius (others are passed over), each once."""
    linking = _Linking(vectors, radius, threshold)
    for pairs in batches:
        linking.add(pairs)
    return linking.finish()


def linkage_columns(
    linkage: Linkage, vectors: DistinctRows, duplicate_of: Ids, finite: npt.NDArray[np.bool_], threshold: float
) -> dict[str, Any]:
    """Return the columns of `features` that linking gives, a value per row of W, masked where that isn't finite.

    `duplicate_of` (n_tokens,): the lowest token_id with an equal row.
    """
    ids = np.flatnonzero(finite)
    vector = np.searchsorted(vectors.ids, duplicate_of[ids])
    place = np.empty_like(linkage.order)
    place[linkage.order] = np.arange(len(vectors))
    order = np.empty(len(ids), dtype=np.int32)
    order[np.lexsort((ids, place[vector]))] = np.arange(len(ids))
    component = linkage.components(threshold)
    sizes = np.bincount(component, weights=vectors.counts, minlength=len(vectors))
    by_row: dict[str, npt.NDArray[Any]] = {
        "component": vectors.ids[component][vector],
        "component_size": sizes[component][vector].astype(np.int32),
        "n_neighbors": (linkage.n_neighbors + vectors.counts - 1)[vector].astype(np.int32),
        "nn_distance": linkage.nearest_distance[vector],
        "nn_token_id": vectors.ids[linkage.nearest][vector],
        "linkage_order": order,
        "linkage_distance": np.where(ids == duplicate_of[ids], linkage.height[vector], 0.0),
    }
    unknown = {name: ~np.isfinite(by_row[name]) for name in ("nn_distance", "linkage_distance")}
    unknown["nn_token_id"] = unknown["nn_distance"]
    columns = {}
    for name, values in by_row.items():
        column = np.ma.MaskedArray(np.zeros(len(finite), dtype=values.dtype), mask=True)
        column[ids] = np.ma.MaskedArray(values, unknown.get(name, False))
        columns[name] = column
    return columns


class _Linking:
    """Takes pairs in batches. A distance is computed only where the bounds leave open what it would change."""

    def __init__(self, vectors: DistinctRows, radius: float, threshold: float) -> None:
        self._vectors = vectors
        self._radius = radius
        self._threshold = threshold
        n = len(vectors)
        self._n_neighbors = np.zeros(n, dtype=np.int64)
        self._nearest = np.full(n, n, dtype=np.int32)
        self._nearest_distance = np.full(n, np.inf)
        self._nearest_at_most = np.full(n, np.inf)
        self._forest = Forest(n)

    def add(self, pairs: Pairs) -> None:
        i, j = pairs.i, pairs.j
        # Squares into distances, the root's rounding allowed for.
        at_least, at_most = (
            np.sqrt(pairs.least) * (1 - 4 * UNIT_ROUNDOFF),
            np.sqrt(pairs.most) * (1 + 4 * UNIT_ROUNDOFF),
        )
        neighbours = at_most < self._threshold
        self._count(i[neighbours], j[neighbours])
        unsure = ~neighbours & (at_least < self._threshold)
        for ends in (i, j):
            np.minimum.at(self._nearest_at_most, ends, at_most)
        nearest = at_least <= np.maximum(self._nearest_at_most[i], self._nearest_at_most[j])
        needed = (at_least < self._radius) & (unsure | nearest | self._forest.could_belong(i, j, at_least, at_most))
        i, j, unsure = i[needed], j[needed], unsure[needed]
        exact = distances(self._vectors.W, self._vectors.ids[i], self._vectors.ids[j])
        near = unsure & (exact < self._threshold)
        self._count(i[near], j[near])
        within = exact < self._radius
        i, j, exact = i[within], j[within], exact[within]
        self._update_nearest(i, j, exact)
        self._update_nearest(j, i, exact)
        self._forest.add(i, j, exact)

    def finish(self) -> Linkage:
        order, height = leaf_order(len(self._vectors), *self._forest.edges())
        nearest = np.where(np.isfinite(self._nearest_distance), self._nearest, -1).astype(np.int32)
        return Linkage(order, height, self._n_neighbors, nearest, self._nearest_distance)

    def _count(self, i: Ids, j: Ids) -> None:
        if not len(i):  # most batches of a tree
            return
        for ends, others in ((i, j), (j, i)):
            n_tokens = np.bincount(ends, weights=self._vectors.counts[others], minlength=len(self._vectors))
            self._n_neighbors += n_tokens.astype(np.int64)

    def _update_nearest(self, i: Ids, j: Ids, exact: Floats) -> None:
        """Note j as the nearest of i where it is; the lowest index of several as near."""
        before = self._nearest_distance[i]
        np.minimum.at(self._nearest_distance, i, exact)
        self._nearest[i[self._nearest_distance[i] < before]] = len(self._vectors)
        np.minimum.at(self._nearest_at_most, i, exact)
        best = exact == self._nearest_distance[i]
        np.minimum.at(self._nearest, i[best], j[best])


def diameters(vectors: DistinctRows, component: npt.NDArray[np.int64]) -> dict[int, float | None]:
    """Return the largest distance between two vectors of each component of 2 tokens or more, by its lowest index.

    `component` (n_vectors,): each vector's. None past `MOST_FOR_DIAMETER` vectors, 0 for duplicates only.
    """
    n_tokens = np.bincount(component, weights=vectors.counts)
    members = np.flatnonzero(n_tokens[component] >= 2).astype(np.int32)
    members = members[np.argsort(component[members], kind="stable")]
    names, starts = np.unique(component[members], return_index=True)
    return {
        int(name): None if len(some) > MOST_FOR_DIAMETER else _diameter(vectors, some)
        for name, some in zip(names, np.split(members, starts[1:]), strict=bool(len(names)))
    }


def _diameter(vectors: DistinctRows, members: Ids) -> float:
    """Return the largest distance between two of some vectors: of the pairs whose bounds leave them in question."""
    if len(members) == 1:
        return 0.0
    whole = Bounds(vectors.rows(members))
    open_pairs: list[tuple[Ids, Ids, Floats]] = []
    surely = 0.0
    for part in blocks(len(members), max(1, MOST_BOUNDS // len(members))):
        least, most = (bound.cpu().numpy() for bound in Bounds(vectors.rows(members[part])).to(whole))
        surely = max(surely, least.max())
        i, j = (most >= surely).nonzero()
        open_pairs.append((members[part][i], members[j], most[i, j]))
    i, j, most = (np.concatenate(parts) for parts in zip(*open_pairs, strict=True))
    left = (most >= surely) & (i < j)
    return float(distances(vectors.W, vectors.ids[i[left]], vectors.ids[j[left]]).max())
