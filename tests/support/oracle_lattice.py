"""The bf16 lattice by its definition: all finite values in their order, and exact integers; nothing of the product's.

Steps between rows go through all pairs; what they tell of components, `oracle_linkage` says from the distances of all
from all.
"""

import math
import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from tests.support.oracle_linkage import leaves, lowest_in_component

Ints = npt.NDArray[np.int64]
NAN, INFINITE = 0x7FC0, 0x7F80


def value(bits: int) -> float:
    """Return the bf16 of a bit pattern.

    >>> value(0x3F80), value(0x8001)
    (1.0, -9.183549615799121e-41)
    """
    (number,) = struct.unpack("<f", struct.pack("<I", bits << 16))
    return float(number)


VALUES = [value(bits) for bits in range(1 << 16)]
FINITE = sorted({number for number in VALUES if math.isfinite(number)})  # -0.0 is 0.0
ZERO = FINITE.index(0.0)
# A coordinate is a place in the order of all finite values, counted from zero.
COORDINATE = {number: place - ZERO for place, number in enumerate(FINITE)}
GREATEST = ZERO


def coordinates(row: Sequence[float]) -> list[int] | None:
    """Return the coordinates of a row, None where it isn't finite."""
    return [COORDINATE[number] for number in row] if all(map(math.isfinite, row)) else None


def matrix(places: npt.NDArray[np.integer]) -> torch.Tensor:
    """Return the bf16 matrix with these coordinates; every other zero is -0.0."""
    values = np.array(FINITE)[np.clip(places, -GREATEST, GREATEST) + ZERO]
    zeros = np.flatnonzero(values.reshape(-1) == 0)
    values.reshape(-1)[zeros[::2]] = -0.0
    return torch.from_numpy(values).bfloat16()


def steps_apart(points: Ints) -> Ints:
    """Return the largest difference over the dimensions of all points `(n, n_dims)` from all, `(n, n)`."""
    return np.array([np.abs(points - point).max(axis=1) for point in points])


class Linked:
    """What linking must give of a small W, by the distances of all finite rows from all."""

    def __init__(self, W: torch.Tensor) -> None:
        found = [coordinates(row) for row in W.double().tolist()]
        self.n_tokens = len(found)
        self.ids = np.flatnonzero([row is not None for row in found])
        self.points = np.array([row for row in found if row is not None], dtype=np.int64)
        self.apart = steps_apart(self.points)

    def component(self, steps: int) -> Ints:
        """Return the lowest token of each finite token's component."""
        return self.ids[lowest_in_component(self.apart <= steps)]

    def leaves(self, most_steps: int) -> list[tuple[int, int | None]]:
        """Return the canonical order: each token with the steps at which it merges with what stands before it."""
        order = leaves(self.apart.astype(float), most_steps + 0.5)
        return [(int(self.ids[leaf]), None if height is None else int(height)) for leaf, height in order]

    def columns(self, most_steps: int) -> list[tuple[int | None, int | None]]:
        """Return (order, steps) of every token."""
        known = {token: (place, steps) for place, (token, steps) in enumerate(self.leaves(most_steps))}
        return [known.get(token, (None, None)) for token in range(self.n_tokens)]


def runs(order: Sequence[tuple[int, int | None]], steps: int) -> dict[int, int]:
    """Return the lowest token of each token's component: of the runs of an order, broken by NULL or more steps."""
    found: dict[int, int] = {}
    lowest = -1
    for token, height in order:
        lowest = token if height is None or height > steps else lowest
        found[token] = lowest
    return found
