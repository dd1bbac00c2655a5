"""The sky, radius and threshold that the matrices of a series share, so that places and components can be compared.

They are one member's own: its principal components, and the distances that it was linked at. The members name it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.tables import lists_of, read_row

from .arithmetic.arrays import Floats
from .new_version import NewVersion
from .recipe.recipe import LinkageDistances, Sky

COLUMNS = ("meridian", "equinox", "north")


@dataclass(frozen=True)
class SharedSky:
    """A series' sky: its axes x, y, z `(3, n_dims)`, of the model `frame_of`, and the distances it was linked at."""

    frame_of: str
    axes: Floats
    n_tokens: int
    radius: float
    threshold: float

    def check(self, n_tokens: int, n_dims: int) -> None:
        """Raise CatalogError where a matrix of this shape can't be of the series."""
        for what, n, theirs in (("rows", n_tokens, self.n_tokens), ("columns", n_dims, self.axes.shape[1])):
            if n != theirs:
                raise CatalogError(f"has {n:,} {what}, and its series has {theirs:,}, as {self.frame_of}")

    def linked(self, asked: LinkageDistances) -> LinkageDistances:
        """Return the distances to link at: those asked for, and the series' own, but for one that these rule out."""
        together = LinkageDistances(**{"radius": self.radius, "threshold": self.threshold} | asked.as_dict())
        return asked if together.threshold > together.radius else together  # type: ignore[operator]


def rule_of(frame_of: str) -> str:
    """Return the `models.linkage_rule` of a matrix that has both distances from its series."""
    return f"radius: as {frame_of}; threshold: as {frame_of}"


def own_axes(components: Floats, sky: Sky) -> Floats:
    """Return the axes x, y, z that a recipe's sky takes from principal components `(n_dims, n_dims)`, in rows."""
    numbers = np.array(sky.axes())
    axes: Floats = components[np.abs(numbers) - 1] * np.sign(numbers)[:, None]
    return axes


def read_shared(folder: Path, model: str) -> SharedSky | None:
    """Return the sky that a stored member of a series shares; None where it shares none."""
    if not (folder / schemas.SERIES_FRAMES.file_name).exists():
        return None
    row = read_row(folder, schemas.SERIES_FRAMES, model)
    about: dict[str, Any] = read_row(folder, schemas.MODELS, model)
    return SharedSky(
        row["frame_of"],
        np.array([row[column] for column in COLUMNS]),
        about["n_tokens"],
        about["linkage_radius"],
        about["linkage_threshold"],
    )


def write_shared(new: NewVersion, frame_of: str, axes: Floats) -> None:
    """Write the row of `series_frames`."""
    columns = {column: lists_of(axes[[place]]) for place, column in enumerate(COLUMNS)}
    new.write(schemas.SERIES_FRAMES, {"frame_of": [frame_of], **columns})
