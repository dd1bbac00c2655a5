"""Which points hang together by near pairs, exactly.

Small groups that the sieve leaves are compared pair by pair. In a large one that it can't divide, points are reached
from each other, and one that is reached is compared no more: a clump in which most are near costs little more than
reading it. A point is compared in those dimensions first in which the fewest of a sample are near it, so that most
others are told apart in one or two. Where nobody is near in a group of n points that no few dimensions tell apart, that
is n²/2 looks at them, in the memory of the group's coordinates.
"""

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
import numpy.typing as npt

from ..arithmetic.arrays import CPU_BYTES, blocks
from .points import Indices, LatticePoints, Places, within
from .sieve import sifted

# A group of so many is compared pair by pair.
FEW = 64
# Points of a group that tell in which dimensions one of them is rare.
N_BESIDE = 64
# Coordinates compared at once.
MOST_COMPARED = CPU_BYTES // 2

Pairs = tuple[Indices, Indices]


def joined(points: LatticePoints, groups: Iterable[Indices], steps: int) -> Pairs:
    """Return near pairs that join all points of a group that near pairs of that group join."""
    found = [_all_pairs(np.empty(0, np.int64))]
    small = list(found)
    for group in _divided(points, groups, steps):
        if len(group) <= FEW:
            small.append(_all_pairs(group))
        else:
            found += _reached(points, group, steps)
    i, j = _together(small)
    near = points.near(i, j, steps)
    return _together([*found, (i[near], j[near])])


def _divided(points: LatticePoints, groups: Iterable[Indices], steps: int) -> Iterator[Indices]:
    """Yield the groups that the sieve leaves: small ones, and those that it can't divide well."""
    waiting = list(groups)
    while waiting:
        group = waiting.pop()
        if len(group) <= FEW:
            yield group
            continue
        for part in sifted(points, group, steps):
            if len(part) > len(group) // 2:
                yield part
            else:
                waiting.append(part)


def _all_pairs(group: Indices) -> Pairs:
    i, j = _pairs_of(len(group))
    return group[i], group[j]


@cache
def _pairs_of(n: int) -> Pairs:
    i, j = np.triu_indices(n, 1)
    return i, j


def _together(pairs: list[Pairs]) -> Pairs:
    i, j = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    return i, j


def _reached(points: LatticePoints, group: Indices, steps: int) -> Iterator[Pairs]:
    """Yield the near pairs by which points of a group are reached from others, each once."""
    columns = _columns(points, group)
    beside = columns[:, np.linspace(0, len(group) - 1, min(N_BESIDE, len(group))).astype(np.int64)].T.copy()
    left = np.arange(len(group))
    while len(left):
        waiting, left = [int(left[0])], left[1:]
        while waiting and len(left):
            here = waiting.pop()
            near = _near(columns, points.places(group[here : here + 1])[0], beside, left, steps)
            reached = left[near]
            left = left[~near]
            waiting += reached.tolist()
            yield np.full(len(reached), group[here]), group[reached]


def _columns(points: LatticePoints, group: Indices) -> Places:
    """Return the coordinates of a group's points by dimension, `(n_dims, n)`."""
    columns = np.empty((points.n_dims, len(group)), dtype=np.int16)
    for part in blocks(len(group), max(1, CPU_BYTES // (2 * points.n_dims))):
        columns[:, part] = points.places(group[part]).T
    return columns


def _near(columns: Places, own: Places, beside: Places, others: Indices, steps: int) -> npt.NDArray[np.bool_]:
    """Return which of a group's other points are near the one at `own`, whose rarest coordinates go first."""
    dims = np.argsort(within(beside, own, steps).sum(axis=0), kind="stable")
    places = np.arange(len(others))
    start, n_dims = 0, 1
    while start < len(dims) and len(places):
        some = dims[start : start + n_dims]
        # From the flat array: of two dimensions, NumPy takes elements at a third of the speed.
        theirs = columns.reshape(-1).take(some[:, None] * columns.shape[1] + others[places])
        near = within(theirs, own[some, None], steps).all(axis=0)
        places = places[near]
        start += n_dims
        n_dims = max(1, min(2 * n_dims, MOST_COMPARED // max(1, len(places))))
    is_near = np.zeros(len(others), dtype=bool)
    is_near[places] = True
    return is_near
