"""Scoring further references of a catalogued model, from what the catalog holds; the rest of it stays as it is."""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from catalog import schemas
from catalog.errors import CatalogError
from catalog.selection import check_conditions
from catalog.tables import write_table
from ingest import stored
from ingest.changing import change, in_force, provenance
from ingest.clusters import Clusters, members, recipe_columns
from ingest.devices import fits, fp64_device, native_device
from ingest.progress import shown
from ingest.recipe_entries import check_order
from ingest.recipes import Recipe, parse_recipe
from ingest.references import Work, check_vectors, settle, write_references
from ingest.report import Report


def add_references(catalog: Path, name: str, additions: Recipe, device: str = "auto") -> Report:
    """Add references and clusters to the models of this key or name, and publish them together.

    They may build on what the catalog has already. On bad input: CatalogError, and the catalog is as it was.
    """
    if not additions.references and not additions.clusters:
        raise CatalogError("the recipe has no [[reference]] and no [[cluster]]: there is nothing to add")
    check_conditions({cluster.key: cluster.where for cluster in additions.clusters})
    return change(catalog, name, partial(_add, additions, fp64_device(device), native_device(device)))


def _add(
    additions: Recipe,
    device: torch.device,
    native: torch.device,
    report: Report,
    model: str,
    about: dict[str, Any],
    old: Path,
    new: Path,
) -> Mapping[str, Any]:
    """Write the tables of references and clusters into the new version's folder; return what changes in `models`."""
    recipe = parse_recipe(json.loads(about["recipe"]))
    with report.stage("read"):
        before = stored.references(old)
        inside = stored.recipe_members(old)
        features = stored.rows_of(old, schemas.FEATURES, model)
    _check(additions, recipe, [scored.name for scored in before], about)
    with report.stage("read"):
        W = stored.stored_rows(old, model, about) if additions.references else torch.empty(0, about["n_dims"])
        if fits(W.nbytes, device):
            W = W.to(device)
    seen = stored.catalogued(old, model, about, W, features)
    note = partial(report.note, model)
    with report.stage("clusters"):
        inside |= members(additions.clusters, features, seen.tokens, note)
    clusters = Clusters(features, inside)
    for scored in before:
        clusters.add(scored)
    found = settle(additions.references, seen, clusters, Work(native, report.stage, note, shown), {})
    named = {reference.name for reference in additions.references}
    together = replace(
        recipe,
        # An optional one that couldn't be had makes room for one of its name.
        references=(*(r for r in recipe.references if r.name not in named), *additions.references),
        clusters=(*recipe.clusters, *additions.clusters),
    )
    changed = in_force(together)
    told = provenance(about | changed)
    with report.stage("tables"):
        if found:
            write_references(new, model, told, [*before, *found])
        if additions.clusters:
            columns = recipe_columns(together.clusters, inside)
            write_table(new, schemas.RECIPE_CLUSTERS, model, told, columns)
    return changed


def _check(additions: Recipe, recipe: Recipe, known: Collection[str], about: Mapping[str, Any]) -> None:
    """Raise CatalogError where additions don't go with what the catalog has."""
    additions.check(about["n_tokens"], about["n_dims"])
    check_vectors(additions.references, about["n_dims"])
    names = [cluster.name for cluster in recipe.clusters]
    for cluster in additions.clusters:
        if cluster.name in names:
            raise CatalogError(f"cluster '{cluster.name}': the catalog has one of that name; give another")
    check_order(additions.references, [*names, *(cluster.name for cluster in additions.clusters)], known)
