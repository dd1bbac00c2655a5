"""Linking W: from its rows and features to the columns that single linkage gives, and to how far that was done.

A recipe, or whoever asks, may fix the distances; what is left open the data settle (`linkage.scale`). Pairs of rows
that may be near are found on the principal components (`linkage.candidates`), and what they join is kept
(`linkage.single_linkage`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from ..arithmetic.arrays import Floats
from ..recipe.recipe import LinkageDistances
from .candidates import MOST_SEARCHED, Candidates
from .projections import DistinctRows
from .scale import ChosenDistances, choose_distances, sample_by_digest, threshold_in_gap
from .single_linkage import Linkage, diameters, linkage_columns, single_linkage


@dataclass(frozen=True)
class Linked:
    """What linking a matrix gives: columns of `features`, those of `component_diameters`, and its distances."""

    columns: dict[str, Any]
    diameters: dict[str, Any]
    chosen: ChosenDistances

    def notes(self, model: str) -> Iterator[str]:
        """Yield what a user would want to know: how far the model was linked, and where that found nothing."""
        yield str(self.chosen)
        distance = self.columns["nn_distance"]
        if len(distance) > 1 and np.ma.getmaskarray(distance).all():
            yield (
                f"no two different rows are nearer than {self.chosen.radius:g}; "
                f"`relink({model!r}, radius=R)` links further"
            )


def link(W: Tensor, digests: list[bytes], basis: Floats, columns: Mapping[str, Any], asked: LinkageDistances) -> Linked:
    """Link the rows of W `(n_tokens, n_dims)` as stored, at the distances asked for and at those that the rule chooses.

    `digests`, of all rows; `basis` (n_dims, n_dims), the principal components in rows; `columns`, of `features` as
    `feature_columns` gives them: duplicate_of, duplicate_count and norm as masked arrays, pcs as lists.
    """
    duplicate_of = columns["duplicate_of"]
    finite = ~np.ma.getmaskarray(duplicate_of)
    ids = np.flatnonzero(finite & (duplicate_of.data == np.arange(len(finite)))).astype(np.int32)
    counts, norms = (columns[name].data[ids] for name in ("duplicate_count", "norm"))
    rows = DistinctRows(W, ids, counts, norms, sample_by_digest(digests, ids))
    # `pcs` has values for finite rows only: the distinct ones among them.
    leading = np.asarray(columns["pcs"].flatten()).reshape(int(finite.sum()), -1)[:, :MOST_SEARCHED]
    leading = leading[np.cumsum(finite)[ids] - 1]
    linkage, chosen = _link_distinct(rows, Candidates(rows, basis, leading), asked)
    component_diameters = diameters(rows, linkage.components(chosen.threshold))
    return Linked(
        linkage_columns(linkage, rows, duplicate_of.data, finite, chosen.threshold),
        {"component": ids[list(component_diameters)], "diameter": list(component_diameters.values())},
        chosen,
    )


def _link_distinct(
    rows: DistinctRows, candidates: Candidates, asked: LinkageDistances
) -> tuple[Linkage, ChosenDistances]:
    """Link the distinct rows; a threshold that the rule lowers into a gap has its neighbours counted anew."""
    chosen = choose_distances(rows, asked)
    linkage = single_linkage(rows, candidates.within(chosen.radius), chosen.radius, chosen.threshold)
    if asked.threshold is not None:
        return linkage, chosen
    lowered = threshold_in_gap(chosen, linkage, rows.counts)
    if lowered == chosen:
        return linkage, chosen
    near = candidates.within(lowered.threshold)
    again = single_linkage(rows, near, lowered.threshold, lowered.threshold)
    return replace(linkage, n_neighbors=again.n_neighbors), lowered
