"""Groups of points that may hang together by near pairs: all that do, and some that don't. Nothing is decided here.

On a few dimensions, each coordinate is put into a cell, and, where a near one may be in the next, into that, too.
Points that are near share a cell in every dimension. Sorted by all their cells at once, those that share them stand
side by side: one sort, no tree. Where the points are close together, narrower cells are asked for; where none would
tell most pairs apart, the group stays whole.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .points import Indices, LatticePoints, Places

# Cells are 2^shift steps wide: the narrower, the more points are in two.
SHIFTS = (6, 5, 4, 3)
# Dimensions whose cells are asked for at most; how often a point may come by being in two cells, on the average; and
# how many pairs that aren't near may be left for each point.
MOST_DIMS, MOST_COPIES, MOST_LEFT = 24, 4.0, 1 / 256
# Points of a sample, and how far in it those are apart that are compared: what tells them apart in which dimensions.
N_SAMPLE, SHIFTED_BY = 256, (1, 5, 17, 61, 101)
# An odd number of 64 bits, to mix cells into keys: keys that are equal by chance only leave a pair in question.
MIXING = np.uint64(0x9E3779B97F4A7C15)


def sifted(points: LatticePoints, group: Indices, steps: int) -> list[Indices]:
    """Return the parts of a group that near pairs may join, of two points or more; the group, where none tell."""
    chosen = _chosen_cells(points.places(_sample(group)), len(group), steps)
    if chosen is None:
        return [group]
    dims, shift = chosen
    i, j = _side_by_side(points.places(group, dims), shift, steps)
    return [group[part] for part in groups(i, j)]


def groups(i: Indices, j: Indices) -> Iterator[Indices]:
    """Yield the connected components of a graph's edges, each ascending.

    >>> [part.tolist() for part in groups(np.array([1, 7, 5]), np.array([5, 2, 9]))]
    [[1, 5, 9], [2, 7]]
    """
    if not len(i):
        return
    members = np.unique(np.concatenate([i, j]))
    ends = tuple(np.searchsorted(members, end) for end in (i, j))
    _, label = connected_components(coo_array((np.ones(len(i), np.int8), ends), shape=(len(members),) * 2))
    by_label = np.argsort(label, kind="stable")
    yield from np.split(members[by_label], np.flatnonzero(np.diff(label[by_label])) + 1)


def _sample(group: Indices) -> Indices:
    return group[np.linspace(0, len(group) - 1, min(N_SAMPLE, len(group))).astype(np.int64)]


def _chosen_cells(sample: Places, n_points: int, steps: int) -> tuple[Indices, int] | None:
    """Return the dimensions, and the cells' shift, that leave few pairs with the fewest cells; None where none do."""
    best, fewest = None, np.inf
    for shift in SHIFTS:
        cells = sample >> shift
        equal = np.mean([(cells == np.roll(cells, by, axis=0)).mean(axis=0) for by in SHIFTED_BY], axis=0)
        likeliest = np.argsort(equal, kind="stable")[:MOST_DIMS]
        left = n_points * np.cumprod(np.maximum(equal[likeliest], 1 / equal.size)) / 2
        enough = np.flatnonzero(left <= MOST_LEFT)
        if not len(enough):
            continue
        n_dims = int(enough[0]) + 1
        copies = (1 + steps / 2**shift) ** n_dims
        if copies <= MOST_COPIES and n_dims * copies < fewest:
            best, fewest = (likeliest[:n_dims].astype(np.int64), shift), n_dims * copies
    return best


def _side_by_side(places: Places, shift: int, steps: int) -> tuple[Indices, Indices]:
    """Return pairs of rows of `(n, n_dims)` that join all that share a cell in every dimension."""
    row = np.arange(len(places))
    key = np.zeros(len(places), dtype=np.uint64)
    for column in places.T:
        cell, farther = column >> shift, (column + np.int16(steps)) >> shift
        twice = np.flatnonzero((cell != farther)[row])
        again = _mixed(key[twice], farther[row[twice]])
        key = np.concatenate([_mixed(key, cell[row]), again])
        row = np.concatenate([row, row[twice]])
    order = np.argsort(key)
    same = np.flatnonzero(key[order[1:]] == key[order[:-1]])
    return row[order[same]], row[order[same + 1]]


def _mixed(key: npt.NDArray[np.uint64], cell: Places) -> npt.NDArray[np.uint64]:
    mixed: npt.NDArray[np.uint64] = (key + cell.astype(np.uint64)) * MIXING
    return mixed ^ (mixed >> np.uint64(32))
