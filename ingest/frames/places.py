"""Every row's place in frames: the tables `frame_axes` and `frame_places`."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from token_catalog.catalog import schemas
from token_catalog.catalog.tables import lists_of

from ..arithmetic.arrays import Floats, block_rows, blocks
from ..arithmetic.sphere import spherical
from ..new_version import NewVersion
from ..recipe.frames import LETTERS, Frame
from .axes import Axes
from .resolve import Surroundings, UnresolvedFrameError, resolve_frame


@dataclass(frozen=True, eq=False)
class PlacedFrame:
    """A frame as the catalog holds it: its definition as JSON, its axes, and its columns of `frame_places`."""

    name: str
    definition: str
    axes: Axes
    columns: Mapping[str, Any]


def place_recipe(frames: Sequence[Frame], around: Surroundings, note: Callable[[str], None]) -> list[PlacedFrame]:
    """Place every row in a recipe's frames; UnresolvedFrameError where one can't be had, and isn't optional."""
    found = {}
    for frame in frames:
        try:
            found[frame.name] = json.dumps(frame.as_dict()), resolve_frame(frame, around)
        except UnresolvedFrameError as error:
            if not frame.optional:
                raise
            note(f"left out: {error}")
    return place(found, around)


def place(frames: Mapping[str, tuple[str, Axes]], around: Surroundings) -> list[PlacedFrame]:
    """Place every row in frames, given by name their definitions and axes, in one pass over W."""
    coordinates = _coordinates(around, [axes for _, axes in frames.values()])
    missing = np.ones(len(around.W), np.bool_)
    missing[around.finite(None)] = False
    return [
        PlacedFrame(name, definition, axes, _columns(xyz, missing))
        for (name, (definition, axes)), xyz in zip(frames.items(), coordinates, strict=True)
    ]


def write_frames(version: NewVersion, frames: Sequence[PlacedFrame]) -> None:
    """Write `frame_axes` and `frame_places`, a frame's rows apart from another's."""
    columns: dict[str, Any] = {
        "frame": [frame.name for frame in frames],
        "definition": [frame.definition for frame in frames],
        **{name: [] for name in ("origin", *(f"{letter}_{kind}" for kind in ("axis", "asked") for letter in LETTERS))},
    }
    if frames:
        columns["origin"] = lists_of(np.stack([frame.axes.origin for frame in frames]))
        for place_, letter in enumerate(LETTERS):
            columns[f"{letter}_axis"] = lists_of(np.stack([frame.axes.axes[place_] for frame in frames]))
            columns[f"{letter}_asked"] = lists_of(np.stack([frame.axes.asked[place_] for frame in frames]))
    version.write(schemas.FRAME_AXES, columns)
    with version.writer(schemas.FRAME_PLACES) as writer:
        for frame in frames:
            n_tokens = len(frame.columns["x"])
            ids = np.arange(n_tokens, dtype=np.int32)
            writer.write({"frame": [frame.name] * n_tokens, "token_id": ids, **frame.columns})


def _coordinates(around: Surroundings, frames: Sequence[Axes]) -> Floats:
    """Return x, y and z of every row in each frame, `(n_frames, n_tokens, 3)`, in fp64; equal rows have equal ones."""
    W = around.W
    coordinates = np.empty((len(frames), len(W), len(LETTERS)))
    on_device = [tuple(torch.from_numpy(array).to(W.device) for array in (axes.origin, axes.axes.T)) for axes in frames]
    for part in blocks(len(W), block_rows(W)) if frames else ():
        rows = W[part].double()
        for own, (origin, basis) in zip(coordinates, on_device, strict=True):
            own[part] = ((rows - origin) @ basis).cpu().numpy() + 0.0
    # The last bit depends on where in its block a row stood.
    return coordinates[:, around.duplicate_of]


def _columns(coordinates: Floats, missing: "np.ndarray[Any, np.dtype[np.bool_]]") -> dict[str, Any]:
    x, y, z = coordinates.T
    radius, lat, lon = spherical(x, y, z)
    columns = {name: np.ma.MaskedArray(column, missing) for name, column in zip("xyz", (x, y, z), strict=True)}
    columns["radius"] = np.ma.MaskedArray(radius, missing)
    return columns | {name: np.ma.MaskedArray(v, missing | np.isnan(v)) for name, v in (("lat", lat), ("lon", lon))}
