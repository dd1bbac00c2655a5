"""Adding references, clusters and frames to a catalogued model, from what the catalog holds; the rest stays."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_changes
from functools import partial
from pathlib import Path

import torch

from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.selection import check_conditions

from .dependents import borrow, kept_axes, surroundings, write_again
from .devices import fp64_device, native_device, placed
from .new_version import NewVersion
from .recipe.entries import check_order, conditions
from .recipe.frames import check_frames
from .recipe.recipe import Recipe, errors_from
from .references.matrix_view import MatrixView
from .references.resolve import check_vectors
from .references.score_recipe import ScoredRecipe, ScoringContext, ask_conditions, score_recipe
from .references.scores import ScoredReference
from .references.token_files import read_token_files
from .report import Report
from .stored_model import StoredModel, revise


def add_references(
    catalog: Path, name: str, additions: Recipe, device: str = "auto", *, replace: bool = False
) -> Report:
    """Add references, clusters and frames to the models of this key or name, and publish them together.

    They may build on what the catalog has already; with `replace`, they take the place of those of their names. On bad
    input: CatalogError, and the catalog is as it was.
    """
    if not additions.references and not additions.clusters and not additions.frames:
        raise CatalogError("the recipe has no [[reference]], no [[cluster]] and no [[frame]]: there is nothing to add")
    with errors_from(additions.origin):
        check_conditions(conditions(additions.clusters))
    added = Added(catalog, additions, fp64_device(device), native_device(device), replace)
    return revise(catalog, name, partial(_add, added))


@dataclass(frozen=True)
class Added:
    """What is added to which catalog, on which devices it is computed, and whether it may replace what is there."""

    catalog: Path
    additions: Recipe
    device: torch.device
    native: torch.device
    replace: bool


def _add(added: Added, stored: StoredModel, new: NewVersion) -> None:
    """Write the tables of references, clusters and frames."""
    with new.stage("read"):
        before = stored.references()
    with errors_from(added.additions.origin):
        scored, view = _score(added, stored, before, new)
        frames = _write_dependents(added, stored, scored, view, new)
    new.about["recipe"] = scored.recipe.dumps()
    clusters = [cluster.name for cluster in added.additions.clusters]
    with new.stage("tables"):
        if scored.differs_from(before):
            scored.write_references(new)
        if clusters:
            scored.write_clusters(new)
    for what, names in (("references", scored.anew), ("clusters", clusters), ("frames", frames)):
        if names:
            new.note(f"{what} added: {', '.join(names)}")


def _score(
    added: Added, stored: StoredModel, before: Sequence[ScoredReference], new: NewVersion
) -> tuple[ScoredRecipe, MatrixView]:
    """Return the recipe in force with the additions, scored as far as they ask for it; and the matrix, read so far."""
    context = ScoringContext(added.native, new.stage, new.note)
    additions, in_files = read_token_files(added.additions, new.about["n_tokens"])
    recipe = _together(stored.recipe, additions, {reference.name for reference in before}, replace=added.replace)
    additions.check(new.about["n_tokens"], new.about["n_dims"])
    check_vectors(additions.references, new.about["n_dims"])
    with new.stage("read"):
        features = stored.table(schemas.FEATURES)
        replaced = {cluster.name for cluster in additions.clusters}
        kept = {name: tokens for name, tokens in stored.members().items() if name not in replaced}
        # Clusters alone change no vector, but where one takes another's place.
        scoring = bool(additions.references or additions.frames) or len(kept) < len(stored.recipe.clusters)
        known = kept | in_files
        W = stored.W() if scoring else torch.empty(0, new.about["n_dims"])
    view = stored.view(placed(W, added.device), features)
    if not scoring:
        return ScoredRecipe(recipe, ask_conditions(recipe, view, context, known), before), view
    named = {reference.name for reference in additions.references}
    unchanged = [scored for scored in before if scored.name not in named]
    return score_recipe(recipe, view, context, members=known, references=unchanged), view


def _write_dependents(
    added: Added, stored: StoredModel, scored: ScoredRecipe, view: MatrixView, new: NewVersion
) -> list[str]:
    """Write the frames that are added, and the frames and spectra of what was replaced; return which were added."""
    fresh, frames = {frame.name for frame in added.additions.frames}, scored.recipe.frames
    there = {reference.name for reference in scored.references}
    changed = {*scored.anew, *({cluster.name for cluster in added.additions.clusters} & {*stored.members()})}
    changed |= {reference.name for reference in stored.references()} - there
    if not fresh and not changed:
        return []
    borrowed = kept_axes(stored, [frame for frame in frames if frame.name not in fresh])
    borrowed |= borrow(added.catalog, added.additions.frames, new.about["n_dims"])
    around = surroundings(view, scored.clusters(view), scored.references, borrowed)
    return write_again(stored, frames, around, new, fresh=fresh, changed=changed)


def _together(recipe: Recipe, additions: Recipe, taken: Collection[str], *, replace: bool) -> Recipe:
    """Return a recipe with the additions; CatalogError if they don't fit.

    An optional reference that couldn't be had, and so isn't `taken`, makes room for one of its name.
    """
    clusters = {cluster.name: cluster for cluster in recipe.clusters}
    references = {reference.name: reference for reference in recipe.references}
    asked = [("reference", reference.name, taken) for reference in additions.references]
    asked += [("cluster", cluster.name, set(clusters)) for cluster in additions.clusters]
    frames = {frame.name: frame for frame in recipe.frames}
    asked += [("frame", frame.name, set(frames)) for frame in additions.frames]
    for what, name, names in asked:
        if name in names and not replace:
            raise CatalogError(f"{what} '{name}': the catalog has one of that name; give another, or `replace=True`")
    references |= {reference.name: reference for reference in additions.references}
    clusters |= {cluster.name: cluster for cluster in additions.clusters}
    frames |= {frame.name: frame for frame in additions.frames}
    together = with_changes(
        recipe,
        references=tuple(references.values()),
        clusters=tuple(clusters.values()),
        frames=tuple(frames.values()),
    )
    check_order(together.references, clusters)
    check_frames(together.frames, references, clusters)
    return together
