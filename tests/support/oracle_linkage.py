"""What linkage must give, by the contract alone: the distances of all from all, and what they tell."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]


def halved(squares: npt.NDArray[Any]) -> Floats:
    """Return the sums over the last axis by the contract: padded with zeros to a power of two, then halved.

    Of five: ((a + e) + c) + (b + d).
    """
    n_columns = squares.shape[-1]
    padded = np.zeros((*squares.shape[:-1], 1 << (n_columns - 1).bit_length()))
    padded[..., :n_columns] = squares
    while padded.shape[-1] > 1:
        half = padded.shape[-1] // 2
        padded = padded[..., :half] + padded[..., half:]
    return padded[..., 0]


def naive_distances(a: Floats, b: Floats) -> Floats:
    """Return the distances of the rows of `a` from those of `b` (broadcast), by the contract."""
    return np.sqrt(halved((a - b) ** 2))


def distance_matrix(X: Floats) -> Floats:
    """Return the distances of all rows of `(n, n_dims)` from all, `(n, n)`."""
    return np.array([naive_distances(X, row) for row in X])


def lowest_in_component(near: Any) -> Ids:
    """Return the lowest member of each one's component, given who is near whom, `(n, n)`."""
    _, label = connected_components(near, directed=False)
    return np.unique(label, return_index=True)[1][label]


def dendrogram(apart: Floats, members: Ids, height: float | None) -> Iterator[tuple[int, float | None]]:
    """Give the leaves below a node by the definition, each with its height, the first with that of the node.

    The node's children are the components just below the least distance at which all its members hang together.
    """
    if len(members) == 1:
        yield int(members[0]), height
        return
    within = apart[np.ix_(members, members)]
    values = np.unique(within)
    at = values[bisect_left(values, True, key=lambda value: connected_components(within <= value)[0] == 1)]
    child = lowest_in_component(within < at)
    for lowest in np.unique(child):
        yield from dendrogram(apart, members[child == lowest], height if lowest == 0 else float(at))


def leaves(apart: Floats, radius: float) -> list[tuple[int, float | None]]:
    """Return the canonical order of the dendrogram below the radius: each leaf with its height, None a first one."""
    component = lowest_in_component(apart < radius)
    members = [np.flatnonzero(component == lowest) for lowest in np.unique(component)]
    return [leaf for part in members for leaf in dendrogram(apart, part, None)]


COLUMNS = (
    "component",
    "component_size",
    "n_neighbors",
    "nn_distance",
    "nn_token_id",
    "linkage_order",
    "linkage_distance",
)


def expected_columns(apart: Floats, ids: Ids, radius: float, threshold: float) -> list[tuple[Any, ...]]:
    """Return all but the dendrogram, for each finite token (their ids ascend), from the distances of all from all."""
    component = lowest_in_component(apart < threshold)
    size = np.bincount(component)[component]
    n_neighbors = (apart < threshold).sum(axis=1) - 1
    others = np.where((apart > 0) & (apart < radius), apart, np.inf)
    nearest = others.argmin(axis=1)  # of several the first, so the lowest token_id
    return [
        (int(ids[component[i]]), int(size[i]), int(n_neighbors[i]))
        + ((float(others[i, at]), int(ids[at])) if np.isfinite(others[i, at]) else (None, None))
        for i, at in enumerate(nearest)
    ]
