"""A recipe's frame -> its origin and axes, from the matrix, its clusters and its references."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from token_catalog.catalog.errors import CatalogError

from ..arithmetic.arrays import Floats, Ids, Vector, counted
from ..arithmetic.components import PrincipalComponents, rank, subset_components
from ..arithmetic.means import centroid
from ..recipe.frames import LETTERS, Frame
from .axes import Axes, orthonormal

# Axes that aren't of this matrix, by the frame's name and the axis' letter: unit vectors `(n_dims,)`.
Borrowed = Mapping[tuple[str, str], Floats]


class UnresolvedFrameError(CatalogError):
    """A frame that can't be had; the message begins with where it stands in the recipe."""


@dataclass(frozen=True)
class Surroundings:
    """What frames build on: a matrix, and what is known of it.

    `W` (n_tokens, n_dims) as stored; `duplicate_of` (n_tokens,), a row's own number where it isn't finite; `finite`
    gives those of some tokens, or of all, whose rows are finite; `components`, W's own, in rows; `cluster` and
    `reference`, what is of that name. Each raises CatalogError where there is nothing.
    """

    W: Tensor
    duplicate_of: Ids
    finite: Callable[[Ids | None], Ids]
    components: Callable[[], Floats]
    cluster: Callable[[str], Ids]
    reference: Callable[[str], Vector]
    borrowed: Borrowed
    _spectra: dict[str, PrincipalComponents] = field(default_factory=dict)

    def of_cluster(self, name: str) -> PrincipalComponents:
        """Return the components of a cluster's finite rows, each token counted once, as far as they are directions."""
        if name not in self._spectra:
            ids, counts = counted(self.finite(self.cluster(name)), self.duplicate_of)
            self._spectra[name] = rank(subset_components(self.W, ids, counts), len(ids)).leading
        return self._spectra[name]


def resolve_frame(frame: Frame, around: Surroundings) -> Axes:
    """Return the origin and the axes that a frame asks for; UnresolvedFrameError where they can't be had."""
    with _errors_at(f"{frame.key}.origin"):
        origin = _origin(frame.origin, around)
    asked = []
    for letter, axis in frame.axes.items():
        with _errors_at(f"{frame.key}.{letter}"):
            direction = around.borrowed.get((frame.name, letter))
            asked.append(_direction(axis, around) if direction is None else direction)
    with _errors_at(frame.key):
        return Axes(origin, np.stack(asked), orthonormal(np.stack(asked)))


def borrowed_axes(frame: Frame) -> Iterator[tuple[str, str, int]]:
    """Yield the letter of each axis that is another model's, that model, and the component's number."""
    for letter in LETTERS:
        if "model" in frame.axes[letter]:
            yield letter, frame.axes[letter]["model"], frame.axes[letter]["pc"]


def _origin(asked: str | Mapping[str, Any], around: Surroundings) -> Floats:
    origin: Floats | Vector
    match asked:
        case "zero":
            origin = np.zeros(around.W.shape[1])
        case "mean":
            origin = centroid(around.W, around.finite(None))
        case {"centroid": name}:
            origin = centroid(around.W, around.finite(around.cluster(name)))
        case {"token": int(token)}:
            origin = around.W[token].double().cpu().numpy()
        case {"reference": name}:
            origin = around.reference(name)
        case _:
            raise NotImplementedError(asked)
    if not np.isfinite(origin).all():
        raise CatalogError(f"{asked}: that row isn't finite")
    return origin.astype(np.float64) + 0.0


def _direction(asked: Mapping[str, Any], around: Surroundings) -> Floats:
    """Return the unit vector of an axis that is of this matrix."""
    if "reference" in asked:
        vector = around.reference(asked["reference"]).astype(np.float64)
        unit: Floats = vector / np.linalg.norm(vector)
        return unit
    pc = asked["pc"]
    if "model" in asked:
        raise CatalogError(
            f"PC{abs(pc)} of '{asked['model']}' was not kept when the frame was left out; "
            "`add_references(recipe, replace=True)` reads it again"
        )
    vectors = around.of_cluster(asked["cluster"]).vectors if "cluster" in asked else around.components()
    if abs(pc) > len(vectors):
        raise CatalogError(
            f"PC{abs(pc)}: the rows of '{asked['cluster']}' spread in {len(vectors)} directions, so have as many"
        )
    component: Floats = math.copysign(1.0, pc) * vectors[abs(pc) - 1]
    return component + 0.0


@contextmanager
def _errors_at(key: str) -> Iterator[None]:
    """Say in errors where in the recipe that stands which can't be had."""
    try:
        yield
    except CatalogError as error:
        raise UnresolvedFrameError(f"{key}: {error}") from None
