"""Clusters: names -> tokens, as the views of `queries/clusters` have them, and the recipe's own, by their conditions.

Those that files name are in `token_files`.

References build on clusters, and make some: `REF:cosine-mode`, `REF:dot-mode`, `REF:dot-self`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.selection import tokens_where

from ..arithmetic.arrays import Ids
from ..recipe.entries import CLASSES, LARGEST, Cluster, conditions
from .scores import ScoredReference


class Clusters:
    """The clusters of one matrix that there are so far: its components, duplicates and recipe's, and references'."""

    def __init__(self, features: pa.Table, members: Mapping[str, Ids]) -> None:
        """Take the table of features, and the tokens of each of the recipe's clusters."""
        self._features = features
        self._members = members
        self._references: dict[str, ScoredReference] = {}

    def add(self, scored: ScoredReference) -> None:
        """Add the clusters that a reference makes."""
        self._references[scored.name] = scored

    def ids(self, name: str) -> Ids:
        """Return a cluster's tokens, ascending; CatalogError where there is none of that name."""
        reference, _, class_ = name.rpartition(":")
        if name in self._members:
            ids = self._members[name]
        elif class_ in CLASSES:
            if reference not in self._references:
                raise CatalogError(f"'{name}': reference '{reference}' was left out; let this one be optional, too")
            ids = self._of_reference(self._references[reference], class_)
        else:
            ids = self._of_features(name)
        if not len(ids):
            family, _, number = name.partition(":")
            reason = _WHY_EMPTY.get(family, "no token is in it").format(number)
            raise CatalogError(f"'{name}': {reason}")
        return ids

    def _of_reference(self, scored: ScoredReference, class_: str) -> Ids:
        values = scored.scores["cosine_bf16" if class_ == "cosine-mode" else "dot_bf16"]
        value = scored.row["self_dot_bf16"] if class_ == "dot-self" else _mode(values)
        return np.flatnonzero((values == value).filled(False)).astype(np.int32)

    def _of_features(self, name: str) -> Ids:
        """Return the tokens of a component or of equal rows, two or more."""
        if name == LARGEST:
            sizes = self._column("component_size")
            largest = self._column("component")[sizes == max(sizes.max(), 2)]
            name = f"component:{largest.min() if len(largest) else 0}"
        family, _, number = name.partition(":")
        column, size = ("component", "component_size") if family == "component" else ("duplicate_of", "duplicate_count")
        inside = (self._column(column) == int(number)) & (self._column(size) > 1)
        return np.flatnonzero(inside).astype(np.int32)

    def _column(self, name: str) -> Any:
        """Return a column of whole numbers; 0 where it is NULL, as its size is then."""
        return self._features[name].combine_chunks().fill_null(0).to_numpy()


def all_clusters(features: pa.Table, members: Mapping[str, Ids], references: Iterable[ScoredReference]) -> Clusters:
    """Return the clusters of a matrix, those of its scored references too."""
    clusters = Clusters(features, members)
    for scored in references:
        clusters.add(scored)
    return clusters


_WHY_EMPTY = {
    LARGEST: "no component has two tokens or more",
    "component": "no component of two tokens or more has {} as its lowest; `from components` lists them",
    "duplicate": "no equal rows have {} as their lowest; `from duplicate_groups` lists them",
}


def recipe_members(
    clusters: Sequence[Cluster], features: pa.Table, tokens: Callable[[], pa.Table], note: Callable[[str], None]
) -> dict[str, Ids]:
    """Return the tokens of a recipe's clusters by condition; CatalogError where one can't be asked."""
    if not clusters:
        return {}
    ids = tokens_where(conditions(clusters), features, tokens())
    for cluster in clusters:
        if not len(ids[cluster.key]):
            note(f"cluster '{cluster.name}' has no token: {cluster.where}")
    return {cluster.name: ids[cluster.key] for cluster in clusters}


def recipe_columns(clusters: Sequence[Cluster], members: Mapping[str, Ids]) -> dict[str, Any]:
    """Return the columns of `recipe_clusters`."""
    tokens = [members[cluster.name] for cluster in clusters]
    counts = [len(ids) for ids in tokens]
    return {
        "cluster": np.repeat(np.array([cluster.name for cluster in clusters], object), counts),
        "token_id": np.concatenate([np.empty(0, np.int32), *tokens]),
        "definition": np.repeat(np.array([cluster.definition for cluster in clusters], object), counts),
    }


def _mode(values: Any) -> float:
    """Return the most frequent value of those not masked, the smallest of several; NaN where there is none."""
    unique, counts = np.unique(values.compressed(), return_counts=True)
    return float(unique[counts.argmax()]) if len(unique) else float("nan")
