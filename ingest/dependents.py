"""What hangs on a model's clusters and references: frames and spectra, found once, and again when those change.

An axis that is another model's is read from the catalog when its frame is added, and stays: that model may go.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError, listed
from token_catalog.catalog.state import State, keys_named, pinned, read_state

from .arithmetic.arrays import Floats, Vector
from .arithmetic.means import centroid
from .frames.axes import Axes
from .frames.places import PlacedFrame, place, place_recipe, write_frames
from .frames.resolve import Borrowed, Surroundings, borrowed_axes
from .new_version import NewVersion
from .recipe.frames import LETTERS, Frame, builds_on
from .references.clusters import Clusters, all_clusters
from .references.matrix_view import MatrixView
from .references.scores import ScoredReference
from .spectra.spectrum import VECTORS, Spectrum, spectrum, weighted, write_spectra
from .stored_model import StoredModel

# The name of a spectrum's sky begins so; a recipe's frames have no colon.
OF_SPECTRUM = "spectrum:"
# Its x, y and z axes, as the default sky's: PC1, PC3, PC2.
SKY_PCS = (1, 3, 2)


def borrow(catalog: Path, frames: Iterable[Frame], n_dims: int) -> dict[tuple[str, str], Floats]:
    """Return the axes of frames that are other models' components, from the catalog; CatalogError where they aren't."""
    asked = [(frame, *axis) for frame in frames for axis in borrowed_axes(frame)]
    if not asked:
        return {}
    with pinned(catalog):
        state = read_state(catalog)
        widths = {name: _stored(catalog, state, name).about["n_dims"] for name in state.models}
        borrowed = {}
        for frame, letter, name, pc in asked:
            model = _of_width(state, widths, name, n_dims, f"{frame.key}.{letter}.model")
            borrowed[frame.name, letter] = _stored(catalog, state, model).component(abs(pc)) * np.sign(pc) + 0.0
        return borrowed


def _stored(catalog: Path, state: State, model: str) -> StoredModel:
    return StoredModel(model, catalog / state.models[model].folder)


def _of_width(state: State, widths: Mapping[str, int], name: str, n_dims: int, key: str) -> str:
    """Return the one model of this key or name; CatalogError where there is none, or its vectors aren't as long."""
    there = f"models of {n_dims:,} columns, as W has: {listed([m for m, width in widths.items() if width == n_dims])}"
    keys = keys_named(state.models, name)
    if not keys:
        raise CatalogError(f"{key}: '{name}': no such model in the catalog; {there}")
    if len(keys) > 1:
        raise CatalogError(f"{key}: '{name}': has {len(keys)} matrices; name one: {listed(keys)}")
    if widths[keys[0]] != n_dims:
        raise CatalogError(f"{key}: '{name}': has {widths[keys[0]]:,} columns; {there}")
    return keys[0]


def surroundings(
    matrix: MatrixView, clusters: Clusters, references: Iterable[ScoredReference], borrowed: Borrowed
) -> Surroundings:
    """Return what frames build on: a matrix, its clusters, its references' vectors, and other models' axes."""
    vectors = {reference.name: reference.vector for reference in references}

    def reference(name: str) -> Vector:
        if name not in vectors:
            raise CatalogError(f"reference '{name}' was left out; let this frame be optional, too")
        return vectors[name]

    return Surroundings(
        matrix.W, matrix.duplicate_of(), matrix.finite, matrix.components, clusters.ids, reference, borrowed
    )


def write_again(
    stored: StoredModel,
    frames: Sequence[Frame],
    around: Surroundings,
    new: NewVersion,
    *,
    fresh: Collection[str] = (),
    changed: Collection[str] | None = None,
) -> list[str]:
    """Write the frames and spectra of a stored model, where they aren't what they were, with the `fresh` frames.

    Return the names of the fresh ones that could be had.
    `changed` names the recipe's clusters and references that may be others now; None: any cluster may.
    """
    before = {frame.name: frame for frame in stored.frames()}
    spectra, anew = _spectra_again(stored, around, new) if changed is None or changed else ([*stored.spectra()], None)
    moved = any(frame.hangs_on_others if changed is None else builds_on(frame) & {*changed} for frame in frames)
    if not (moved or fresh or anew is not None):
        return []
    with new.stage("frames"):
        placed = [before[frame.name] for frame in frames if frame.name in before]
        if moved or fresh:
            placed = place_recipe(frames, around, new.note)
        skies = [before[name] for one in spectra if one not in (anew or ()) and (name := sky_name(*one.key)) in before]
        write_frames(new, [*placed, *skies, *place_skies(anew or (), around)])
    if anew is not None:
        write_spectra(new, spectra)
    return [frame.name for frame in placed if frame.name in fresh]


def kept_axes(stored: StoredModel, frames: Iterable[Frame]) -> dict[tuple[str, str], Floats]:
    """Return the axes that a stored model's frames have from other models."""
    asked = {frame.name: frame.axes.asked for frame in stored.frames()}
    return {
        (frame.name, letter): asked[frame.name][LETTERS.index(letter)]
        for frame in frames
        if frame.name in asked
        for letter, _, _ in borrowed_axes(frame)
    }


def place_skies(spectra: Iterable[Spectrum], around: Surroundings) -> list[PlacedFrame]:
    """Place every row on the skies of spectra; those of fewer directions than three have none."""
    found = {}
    for one in spectra:
        if one.row["rank"] < len(SKY_PCS):
            continue
        ids = around.finite(around.cluster(one.cluster))
        if one.weighting == VECTORS:
            ids, _ = weighted(ids, around.duplicate_of, VECTORS)
        axes = one.vectors[np.array(SKY_PCS) - 1]
        definition = json.dumps({"cluster": one.cluster, "weighting": one.weighting})
        origin = centroid(around.W, ids).astype(np.float64)
        found[sky_name(*one.key)] = definition, Axes(origin, axes, axes)
    return place(found, around)


def sky_name(cluster: str, weighting: str) -> str:
    """Return the name of the frame that a spectrum's sky is.

    >>> sky_name("unused", "tokens"), sky_name("unused", "vectors")
    ('spectrum:unused', 'spectrum:unused:vectors')
    """
    return f"{OF_SPECTRUM}{cluster}" + (f":{VECTORS}" if weighting == VECTORS else "")


def _spectra_again(
    stored: StoredModel, around: Surroundings, new: NewVersion
) -> tuple[list[Spectrum], list[Spectrum] | None]:
    """Return a stored model's spectra, and which of them are anew, as their clusters have other tokens; None: all stay.

    One that can't be had any more is left out, with a note.
    """
    found = stored.spectra()
    spectra: list[Spectrum] = []
    anew: list[Spectrum] = []
    if not found:
        return spectra, None
    before = all_clusters(stored.table(schemas.FEATURES), stored.members(), stored.references())
    for one in found:
        try:
            ids = around.cluster(one.cluster)
            if np.array_equal(ids, before.ids(one.cluster)):
                spectra.append(one)
                continue
            with new.stage("spectra"):
                again = spectrum(around.W, one.cluster, around.finite(ids), around.duplicate_of, one.weighting)
        except CatalogError as error:
            new.note(f"the spectrum of a cluster that changed is left out: {error}")
            continue
        new.note(str(again))
        spectra.append(again)
        anew.append(again)
    return spectra, anew if anew or len(spectra) < len(found) else None
