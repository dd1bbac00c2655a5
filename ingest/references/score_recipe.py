"""A recipe's clusters and references -> `recipe_clusters`, `reference_vectors` and `scores`.

Conditions are asked first. Then references in the order in which they build on each other: those that build on no
other's clusters are resolved and scored in one pass over W; then those that build on theirs; and so on.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from token_catalog.catalog import schemas
from token_catalog.catalog.tables import lists_of

from ..arithmetic.arrays import Ids
from ..devices import described
from ..new_version import NewVersion
from ..recipe.entries import TOKEN_KINDS, Reference
from ..recipe.recipe import Recipe
from .clusters import Clusters, all_clusters, recipe_columns, recipe_members
from .matrix_view import MatrixView
from .resolve import Resolved, UnresolvedError, resolve_reference, token_of
from .scores import ScoredReference, score

_KEYS_OF_A_REFERENCE = ("model", "reference")


@dataclass(frozen=True)
class ScoringContext:
    """Where a recipe is scored: on which device natively, and whom to tell of it."""

    native: torch.device
    stage: Callable[[str], AbstractContextManager[None]]
    note: Callable[[str], None]


@dataclass(frozen=True)
class ScoredRecipe:
    """What a recipe came to: the tokens of each of its clusters, and its references; `anew`, those scored just now."""

    recipe: Recipe
    members: Mapping[str, Ids]
    references: Sequence[ScoredReference]
    anew: Sequence[str] = ()

    def differs_from(self, before: Sequence[ScoredReference]) -> bool:
        """Whether the references aren't the very same as before."""
        return [*map(id, self.references)] != [*map(id, before)]

    def clusters(self, matrix: MatrixView) -> Clusters:
        """Return all clusters that there are: the matrix' own, the recipe's, and its references'."""
        return all_clusters(matrix.features, self.members, self.references)

    def write_clusters(self, version: NewVersion) -> None:
        """Write `recipe_clusters`."""
        version.write(schemas.RECIPE_CLUSTERS, recipe_columns(self.recipe.clusters, self.members))

    def write_references(self, version: NewVersion) -> None:
        """Write `reference_vectors` and `scores`."""
        keys = [column.name for column in schemas.REFERENCE_VECTORS.columns if column.name not in _KEYS_OF_A_REFERENCE]
        columns: dict[str, Any] = {key: [scored.row.get(key) for scored in self.references] for key in keys}
        columns["vector"] = lists_of(np.stack(columns["vector"])) if self.references else []
        columns["reference"] = [scored.name for scored in self.references]
        version.write(schemas.REFERENCE_VECTORS, columns)
        with version.writer(schemas.SCORES) as writer:
            for scored in self.references:
                n_tokens = len(scored.scores["dot"])
                ids = np.arange(n_tokens, dtype=np.int32)
                writer.write({"reference": [scored.name] * n_tokens, "token_id": ids, **scored.scores})


def score_recipe(
    recipe: Recipe,
    matrix: MatrixView,
    context: ScoringContext,
    *,
    members: Mapping[str, Ids] | None = None,
    references: Sequence[ScoredReference] = (),
) -> ScoredRecipe:
    """Ask a recipe's conditions, and resolve and score its references.

    What is known already is given: `members` of some of its clusters; `references`, of which those that build on
    clusters are resolved again, and scored again where their vector is another now. CatalogError where a condition
    can't be asked; UnresolvedError where a reference can't be had, and isn't optional.
    """
    members = ask_conditions(recipe, matrix, context, members or {})
    known = {scored.name: scored for scored in references}
    scored = resolve_and_score(recipe.references, matrix, Clusters(matrix.features, members), context, known)
    anew = [one.name for one in scored if one.name not in known or known[one.name].scores is not one.scores]
    return ScoredRecipe(recipe, members, scored, anew)


def ask_conditions(
    recipe: Recipe, matrix: MatrixView, context: ScoringContext, known: Mapping[str, Ids]
) -> dict[str, Ids]:
    """Return the tokens of a recipe's clusters, by name; those `known` stay."""
    fresh = [cluster for cluster in recipe.clusters if cluster.name not in known]
    with context.stage("clusters"):
        return {**known, **recipe_members(fresh, matrix.features, matrix.tokens, context.note)}


def resolve_and_score(
    references: Sequence[Reference],
    matrix: MatrixView,
    clusters: Clusters,
    context: ScoringContext,
    known: Mapping[str, ScoredReference],
) -> list[ScoredReference]:
    """Resolve and score references, in their order; UnresolvedError names the one that can't be had.

    What is `known` of them already stays; of those that build on clusters, as long as their vector is the same.
    """
    scored: dict[str, ScoredReference] = {}
    left = list(references)
    while left:
        waiting = {reference.name for reference in left}
        ready = [reference for reference in left if reference.builds_on not in waiting]
        with context.stage("references"):
            fresh = _resolve_ready(ready, matrix, clusters, context, known, scored)
        scored |= _score_fresh(fresh, matrix, context)
        for reference in ready:
            if reference.name in scored:
                clusters.add(scored[reference.name])
        left = [reference for reference in left if reference.builds_on in waiting]
    return [scored[reference.name] for reference in references if reference.name in scored]


def _resolve_ready(
    ready: Sequence[Reference],
    matrix: MatrixView,
    clusters: Clusters,
    context: ScoringContext,
    known: Mapping[str, ScoredReference],
    scored: dict[str, ScoredReference],
) -> list[tuple[Reference, Resolved]]:
    """Return those references whose scores aren't known, resolved; the others go into `scored`."""
    fresh = []
    for reference in ready:
        before = known.get(reference.name)
        if before is not None and reference.kind != "centroid":
            scored[reference.name] = _with_token(before, reference, matrix)
            continue
        resolved = _resolve_optional(reference, matrix, clusters, context)
        if before is not None and resolved and np.array_equal(before.vector, resolved.h.vector):
            scored[reference.name] = before
        elif resolved:
            fresh.append((reference, resolved))
    return fresh


def _resolve_optional(
    reference: Reference, matrix: MatrixView, clusters: Clusters, context: ScoringContext
) -> Resolved | None:
    """Resolve a reference; None, with a note, where it is optional and can't be had."""
    try:
        return resolve_reference(reference, matrix, clusters)
    except UnresolvedError as error:
        if not reference.optional:
            raise
        context.note(f"left out: {error}")
        return None


def _score_fresh(
    fresh: Sequence[tuple[Reference, Resolved]], matrix: MatrixView, context: ScoringContext
) -> dict[str, ScoredReference]:
    """Score resolved references in one pass over W."""
    if not fresh:
        return {}
    vectors = [resolved.h for _, resolved in fresh]
    scores = score(matrix.W, matrix.norms_bf16(), matrix.duplicate_of(), vectors, context.native, context.stage)
    return {
        reference.name: ScoredReference(reference.name, _table_row(reference, resolved, context.native), columns)
        for (reference, resolved), columns in zip(fresh, scores, strict=True)
    }


def _with_token(before: ScoredReference, reference: Reference, matrix: MatrixView) -> ScoredReference:
    """Return a known reference with its token: a version from before that was stored has none."""
    if before.row["token_id"] is not None or reference.kind not in TOKEN_KINDS:
        return before
    return replace(before, row=before.row | {"token_id": token_of(reference, matrix)})


def _table_row(reference: Reference, resolved: Resolved, native: torch.device) -> dict[str, Any]:
    """Return a reference's row of `reference_vectors`, but for its keys."""
    return {
        "kind": reference.kind,
        "recipe": json.dumps(reference.as_dict()),
        "token_id": resolved.token_id,
        "vector": resolved.h.vector,
        "norm": resolved.h.norm,
        "self_dot_bf16": resolved.h.self_dot_bf16,
        "device": described(native),
        "torch_version": torch.__version__,
    }
