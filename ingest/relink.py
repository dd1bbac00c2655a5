"""Linking a catalogued model anew, further or less far, from what the catalog holds.

What hangs on linkage changes with it: clusters of the recipe, and references that are their centroids, or components'.
The rest stays as it is.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.tables import as_rows

from .arithmetic.arrays import block_rows, blocks
from .dependents import kept_axes, surroundings, write_again
from .devices import fp64_device, native_device, placed
from .features.duplicates import row_digests
from .frames.resolve import UnresolvedFrameError
from .linkage.link import link
from .new_version import NewVersion
from .recipe.recipe import DISTANCES, LinkageDistances, Recipe
from .references.matrix_view import MatrixView
from .references.resolve import UnresolvedError
from .references.score_recipe import ScoringContext, score_recipe
from .report import Report
from .stored_model import StoredModel, masked, revise


def relink(catalog: Path, name: str, asked: LinkageDistances, device: str = "auto") -> Report:
    """Link the models of this key or name anew, and publish them together.

    The distance that isn't asked for stays as it was; with none asked for, the rule chooses both again. On bad input:
    CatalogError, and the catalog is as it was.
    """
    asked.check()
    return revise(catalog, name, partial(_relink, asked, fp64_device(device), native_device(device)))


def _relink(
    asked: LinkageDistances, device: torch.device, native: torch.device, stored: StoredModel, new: NewVersion
) -> None:
    """Write the tables that linking changes."""
    kept = _kept(stored, asked)
    distances = LinkageDistances(**asked.as_dict() | kept)
    with new.stage("read"):
        W, features = stored.W(), stored.columns(schemas.FEATURES)
        digests = [digest for part in blocks(len(W), block_rows(W)) for digest in row_digests(W[part])]
        basis = stored.components()
    with new.stage("linkage"):
        W = placed(W, device)
        known = {name: masked(features[name]) for name in ("duplicate_of", "duplicate_count", "norm")}
        linked = link(W, digests, basis, {"pcs": features["pcs"], **known}, distances)
    linked = replace(linked, chosen=linked.chosen.with_rule("as before", kept))
    for note in linked.notes(new.model):
        new.note(note)
    recipe = _with_distances(stored.recipe, asked)
    new.about |= {"recipe": recipe.dumps(), **linked.chosen.as_row()}
    features |= linked.columns
    with new.stage("tables"):
        new.write(schemas.FEATURES, features)
        new.write(schemas.COMPONENT_DIAMETERS, linked.diameters)
    view = stored.view(W, as_rows(schemas.FEATURES, new.model, features))
    _score_again(stored, recipe, view, native, new)


def _score_again(stored: StoredModel, recipe: Recipe, view: MatrixView, native: torch.device, new: NewVersion) -> None:
    """Write the recipe's clusters, the references whose vector is another now, and what hangs on both."""
    before, members = stored.references(), stored.members()
    # Files aren't read again: what they named doesn't hang on linkage.
    named = {cluster.name: members[cluster.name] for cluster in recipe.clusters if cluster.file}
    context = ScoringContext(native, new.stage, new.note)
    try:
        scored = score_recipe(recipe, view, context, members=named, references=before)
        borrowed = kept_axes(stored, recipe.frames)
        around = surroundings(view, scored.clusters(view), scored.references, borrowed)
        write_again(stored, recipe.frames, around, new)
    except (UnresolvedError, UnresolvedFrameError) as error:
        what = "reference" if isinstance(error, UnresolvedError) else "frame"
        raise CatalogError(
            f"{new.model}: linked so, it has no {error}; nothing was changed: choose other distances, or ingest it "
            f"again with optional = true in that {what}"
        ) from None
    if scored.anew:
        new.note(f"references that changed with it, and were scored anew: {', '.join(scored.anew)}")
    with new.stage("tables"):
        if recipe.clusters:
            scored.write_clusters(new)
        if scored.differs_from(before):
            scored.write_references(new)


def _kept(stored: StoredModel, asked: LinkageDistances) -> dict[str, float]:
    """Return which distance stays as it was, beside the one asked for; where that can't be, CatalogError."""
    given = asked.as_dict()
    before = {name: stored.about.get(f"linkage_{name}") for name in DISTANCES}
    kept = {name: value for name, value in before.items() if given and name not in given and value is not None}
    both = given | kept
    if kept and both["threshold"] > both["radius"]:
        radius, threshold = f"{both['radius']:g}", f"{both['threshold']:g}"
        if "threshold" in kept:
            raise CatalogError(
                f"{stored.model}: its threshold {threshold} is past `radius={radius}`; give `threshold=` too"
            )
        raise CatalogError(
            f"{stored.model}: is linked up to {radius}, and `threshold={threshold}` is past that; give `radius=` too"
        )
    return kept


def _with_distances(recipe: Recipe, asked: LinkageDistances) -> Recipe:
    """Return the recipe in force with the distances asked for; with none, the rule has chosen them again."""
    distances = replace(recipe.linkage, **asked.as_dict()) if asked.as_dict() else LinkageDistances()
    return replace(recipe, linkage=distances)
