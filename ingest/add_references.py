"""Scoring further references of a catalogued model, from what the catalog holds; the rest of it stays as it is."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.selection import check_conditions
from token_catalog.catalog.tables import write_table
from token_catalog.ingest import stored
from token_catalog.ingest.changing import change, provenance
from token_catalog.ingest.devices import fp64_device, native_device, placed
from token_catalog.ingest.recipe.entries import check_order
from token_catalog.ingest.recipe.recipe import Recipe, errors_from
from token_catalog.ingest.references.clusters import Clusters, ScoredReference, members, recipe_columns
from token_catalog.ingest.references.resolve import ScoringContext, check_vectors, resolve_and_score, write_references
from token_catalog.ingest.report import Report, progress_bar


def add_references(
    catalog: Path, name: str, additions: Recipe, device: str = "auto", *, replace: bool = False
) -> Report:
    """Add references and clusters to the models of this key or name, and publish them together.

    They may build on what the catalog has already; with `replace`, they take the place of those of their names. On bad
    input: CatalogError, and the catalog is as it was.
    """
    if not additions.references and not additions.clusters:
        raise CatalogError("the recipe has no [[reference]] and no [[cluster]]: there is nothing to add")
    with errors_from(additions.origin):
        check_conditions({cluster.key: cluster.where for cluster in additions.clusters})
    where, native = fp64_device(device), native_device(device)
    return change(catalog, name, partial(_add, additions, where, native, replace))


def _add(
    additions: Recipe,
    device: torch.device,
    native: torch.device,
    replace: bool,
    report: Report,
    model: str,
    about: dict[str, Any],
    old: Path,
    new: Path,
) -> Mapping[str, Any]:
    """Write the tables of references and clusters into the new version's folder; return what changes in `models`."""
    recipe = stored.recipe_of(about)
    with report.stage("read"):
        before = stored.references(old)
        inside = stored.recipe_members(old, recipe)
    note = partial(report.note, model)
    with errors_from(additions.origin):
        recipe, replacing = _together(recipe, additions, before, replace)
        additions.check(about["n_tokens"], about["n_dims"])
        check_vectors(additions.references, about["n_dims"])
        with report.stage("read"):
            features = stored.rows_of(old, schemas.FEATURES, model)
            # Clusters alone change no vector, but where one takes another's place.
            scoring = bool(additions.references) or replacing
            W = stored.stored_rows(old, model, about) if scoring else torch.empty(0, about["n_dims"])
        seen = stored.catalogued(old, model, about, placed(W, device), features)
        with report.stage("clusters"):
            inside |= members(additions.clusters, features, seen.tokens, note)
        named = {reference.name for reference in additions.references}
        known = {scored.name: scored for scored in before if scored.name not in named}
        work = ScoringContext(native, report.stage, note, progress_bar)
        found = (
            resolve_and_score(recipe.references, seen, Clusters(features, inside), work, known) if scoring else before
        )
    changed = {"recipe": recipe.dumps()}
    told = provenance(about | changed)
    with report.stage("tables"):
        if scoring:
            write_references(new, model, told, found)
        if additions.clusters:
            write_table(new, schemas.RECIPE_CLUSTERS, model, told, recipe_columns(recipe.clusters, inside))
    anew = [scored.name for scored in found if known.get(scored.name) is not scored]
    for what, names in (("references", anew), ("clusters", [cluster.name for cluster in additions.clusters])):
        if names:
            note(f"{what} added: {', '.join(names)}")
    return changed


def _together(
    recipe: Recipe, additions: Recipe, before: Sequence[ScoredReference], replace: bool
) -> tuple[Recipe, bool]:
    """Return a recipe with the additions, and whether one of its clusters is replaced; CatalogError if they don't fit.

    An optional reference that couldn't be had makes room for one of its name.
    """
    taken = {scored.name for scored in before}
    clusters = {cluster.name: cluster for cluster in recipe.clusters}
    references = {reference.name: reference for reference in recipe.references}
    asked = [("reference", reference.name, taken) for reference in additions.references]
    asked += [("cluster", cluster.name, set(clusters)) for cluster in additions.clusters]
    for what, name, names in asked:
        if name in names and not replace:
            raise CatalogError(f"{what} '{name}': the catalog has one of that name; give another, or --replace it")
    replacing = not clusters.keys().isdisjoint(cluster.name for cluster in additions.clusters)
    references |= {reference.name: reference for reference in additions.references}
    clusters |= {cluster.name: cluster for cluster in additions.clusters}
    together = dataclasses.replace(recipe, references=tuple(references.values()), clusters=tuple(clusters.values()))
    check_order(together.references, clusters)
    return together, replacing
