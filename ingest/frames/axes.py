"""Three directions -> three axes: of length 1, and at right angles to each other (Gram and Schmidt's), in fp64."""

from dataclasses import dataclass

import numpy as np

from token_catalog.catalog.errors import CatalogError

from ..arithmetic.arrays import Floats
from ..recipe.frames import LETTERS

# What is left of a direction after the axes before it: less would place its axis worse than to 1e-9 rad.
DEPENDENT = 1e-6


@dataclass(frozen=True)
class Axes:
    """An origin `(n_dims,)`, and the axes x, y and z in rows `(3, n_dims)`; `asked`, before orthonormalisation."""

    origin: Floats
    asked: Floats
    axes: Floats


def orthonormal(directions: Floats) -> Floats:
    """Return unit vectors (in rows), each what the ones before leave of its direction; CatalogError where that is nothing.

    >>> orthonormal(np.array([[2.0, 0, 0], [1, 1, 0], [0, 3, 4]])).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    >>> orthonormal(np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 0]]))
    Traceback (most recent call last):
    ...
    token_catalog.catalog.errors.CatalogError: z lies in the span of x and y; a frame's axes must be independent
    """  # noqa: E501
    axes = np.empty_like(directions)
    for place, direction in enumerate(directions):
        rest, before = direction / np.linalg.norm(direction), axes[:place]
        for _ in range(2):  # once leaves as much along the axes before as rounding is of what is left
            rest = rest - before.T @ (before @ rest)
            length = np.linalg.norm(rest)
            if length <= DEPENDENT:
                raise CatalogError(
                    f"{LETTERS[place]} lies in the span of {' and '.join(LETTERS[:place])}; a frame's axes must be "
                    "independent"
                )
            rest /= length
        axes[place] = rest + 0.0
    return axes
