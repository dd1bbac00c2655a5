"""Linking a catalogued model anew, further or less far, from what the catalog holds.

What hangs on linkage changes with it: clusters of the recipe, and references that are their centroids, or components'.
The rest stays as it is.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.tables import as_rows, read_columns, write_table
from token_catalog.ingest import stored
from token_catalog.ingest.arithmetic.distances import block_rows, blocks
from token_catalog.ingest.changing import change, provenance
from token_catalog.ingest.devices import fp64_device, native_device, placed
from token_catalog.ingest.features import scan as features
from token_catalog.ingest.linkage import single_linkage as linkage
from token_catalog.ingest.recipe.recipe import LIMITS, LinkageDistances, Recipe
from token_catalog.ingest.references.clusters import Clusters, members, recipe_columns
from token_catalog.ingest.references.resolve import MatrixView, ScoringContext, resolve_and_score, write_references
from token_catalog.ingest.report import Report, progress_bar
from token_catalog.ingest.run import chosen, tell


def relink(catalog: Path, name: str, limits: LinkageDistances, device: str = "auto") -> Report:
    """Link the models of this key or name anew, and publish them together.

    What `limits` leaves open stays as it was; with nothing given, the rule chooses again. On bad input: CatalogError,
    and the catalog is as it was.
    """
    limits.check("--")
    return change(catalog, name, partial(_relink, limits, fp64_device(device), native_device(device)))


def _relink(
    limits: LinkageDistances,
    device: torch.device,
    native: torch.device,
    report: Report,
    model: str,
    about: dict[str, Any],
    old: Path,
    new: Path,
) -> Mapping[str, Any]:
    """Write the tables that linking changes into the new version's folder; return what changes in `models`."""
    asked = limits.as_dict()
    kept = _kept(model, asked, about)
    with report.stage("read"):
        W = stored.stored_rows(old, model, about)
        digests = [digest for part in blocks(len(W), block_rows(W)) for digest in linkage.row_digests(W[part])]
        basis = stored.components(old)
        columns = read_columns(old, schemas.FEATURES)
    with report.stage("linkage"):
        masked = {name: stored.masked(columns[name]) for name in ("duplicate_of", "duplicate_count", "norm")}
        W = placed(W, device)
        linked = features.link(
            W, digests, basis, {"pcs": columns["pcs"], **masked}, LinkageDistances(**asked | kept), progress_bar
        )
    choice = linked.choice
    if "radius" in kept:
        choice = replace(choice, radius_rule="as before")
    if "threshold" in kept:
        choice = replace(choice, threshold_rule="as before")
    recipe = stored.recipe_of(about)
    # With nothing asked, the rule chose again.
    recipe = replace(recipe, linkage=replace(recipe.linkage, **asked) if asked else LinkageDistances())
    changed = {"recipe": recipe.dumps(), **chosen(choice)}
    tell(report, model, linked, choice)
    told = provenance(about | changed)
    columns = columns | linked.columns
    with report.stage("tables"):
        write_table(new, schemas.FEATURES, model, told, columns)
        write_table(new, schemas.COMPONENT_DIAMETERS, model, told, linked.diameters)
    seen = stored.catalogued(old, model, about, W, as_rows(schemas.FEATURES, model, columns))
    _see(
        recipe,
        seen,
        ScoringContext(native, report.stage, partial(report.note, model), progress_bar),
        model,
        told,
        old,
        new,
    )
    return changed


def _see(recipe: Recipe, seen: MatrixView, work: ScoringContext, model: str, told: str, old: Path, new: Path) -> None:
    """Write the recipe's clusters, and the references whose vector is another now."""
    inside = members(recipe.clusters, seen.features, seen.tokens, work.note)
    known = {scored.name: scored for scored in stored.references(old)}
    try:
        found = resolve_and_score(recipe.references, seen, Clusters(seen.features, inside), work, known)
    except CatalogError as error:
        raise CatalogError(
            f"{model}: linked so, it has no {error}; nothing was changed: choose other limits, or ingest it again with "
            "optional = true in that reference"
        ) from None
    anew = [scored.name for scored in found if known.get(scored.name) is not scored]
    if anew:
        work.note(f"references that changed with it, and were scored anew: {', '.join(anew)}")
    with work.stage("tables"):
        if recipe.clusters:
            write_table(new, schemas.RECIPE_CLUSTERS, model, told, recipe_columns(recipe.clusters, inside))
        if anew or len(found) < len(known):
            write_references(new, model, told, found)


def _kept(model: str, asked: dict[str, float], about: dict[str, Any]) -> dict[str, float]:
    """Return which limit stays as it was, beside the one asked for; where that can't be, CatalogError."""
    before = {name: about.get(f"linkage_{name}") for name in LIMITS}
    kept = {name: value for name, value in before.items() if asked and name not in asked and value is not None}
    limits = asked | kept
    if kept and limits["threshold"] > limits["radius"]:
        radius, threshold = f"{limits['radius']:g}", f"{limits['threshold']:g}"
        if "threshold" in kept:
            raise CatalogError(f"{model}: its threshold {threshold} is past --radius {radius}; give --threshold too")
        raise CatalogError(
            f"{model}: is linked up to {radius}, and --threshold {threshold} is past that; give --radius too"
        )
    return kept
