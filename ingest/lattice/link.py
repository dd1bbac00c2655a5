"""Linking the rows of a bf16 W by steps on the lattice: the table `lattice`.

Two tokens are joined at a number of steps where they are so near in every dimension, or where a chain of such tokens
leads from one to the other. The order is single linkage's canonical one: sorted by the lowest token of the component at
the most steps, then by that at one step fewer, and so on, then by the token's vector, and the token. So the components
at any number of steps are runs of it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from .joining import Pairs, joined
from .points import Indices, LatticePoints
from .sieve import groups

# Past these, components in the whole vocabulary aren't kept: `lattice_linkage` has those of a cluster.
MOST_STEPS = 2


def lattice_columns(W: Tensor, duplicate_of: "np.ma.MaskedArray[Any, Any]") -> dict[str, Any]:
    """Return the columns of `lattice`, given W `(n_tokens, n_dims)`, bf16, and each row's lowest equal one.

    `duplicate_of` (n_tokens,) is masked where the row isn't finite.
    """
    n_tokens = len(duplicate_of)
    finite = ~np.ma.getmaskarray(duplicate_of)
    ids = np.flatnonzero(finite)
    first = duplicate_of.data[ids]
    points = LatticePoints(W, ids[first == ids].astype(np.int32))
    components = [points.ids[component] for component in components_by_steps(points, MOST_STEPS)]
    labels = [component[np.searchsorted(points.ids, first)] for component in components]
    order = np.lexsort((ids, first, *labels))  # the last is the first to sort by
    columns = {
        name: np.ma.MaskedArray(np.zeros(n_tokens, dtype=np.int32), mask=True)
        for name in ("lattice_order", "lattice_steps")
    }
    columns["lattice_order"][ids[order]] = np.arange(len(ids))
    columns["lattice_steps"][ids] = _steps(ids, [first, *labels])
    return {"token_id": np.arange(n_tokens, dtype=np.int32), **columns}


def components_by_steps(points: LatticePoints, most_steps: int) -> list[Indices]:
    """Return, for 1 step and each number up to the most, the lowest point of each point's component."""
    components: list[Indices] = []
    parts = [np.arange(len(points))]
    for steps in range(most_steps, 0, -1):
        pairs = joined(points, parts, steps)
        components.insert(0, _lowest(len(points), pairs))
        parts = list(groups(*pairs))
    return components


def _lowest(n_points: int, pairs: Pairs) -> Indices:
    """Return the lowest point of each one's component, given the pairs that join them."""
    _, label = connected_components(coo_array((np.ones(len(pairs[0]), np.int8), pairs), shape=(n_points, n_points)))
    lowest: Indices = np.unique(label, return_index=True)[1][label]
    return lowest


def _steps(ids: Indices, labels: Sequence[npt.NDArray[np.integer]]) -> "np.ma.MaskedArray[Any, Any]":
    """Return at how many steps each token is no longer its component's first, given the firsts at 0 steps, 1, ….

    >>> _steps(np.array([0, 1, 2]), [np.array([0, 1, 1]), np.array([0, 0, 0])]).tolist()
    [None, 1, 0]
    """
    later = np.stack([label < ids for label in labels])
    return np.ma.MaskedArray(later.argmax(axis=0).astype(np.int32), mask=~later.any(axis=0))
