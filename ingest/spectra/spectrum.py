"""The spectrum of a cluster: the covariance of its finite rows about their own mean, and what its eigenvalues say.

Each token counts once, or equal rows do: then one vector of a thousand tokens isn't a thousand times as heavy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.tables import lists_of

from ..arithmetic.arrays import Floats, Ids, counted
from ..arithmetic.components import PrincipalComponents, rank, subset_components
from ..new_version import NewVersion

TOKENS, VECTORS = WEIGHTINGS = ("tokens", "vectors")
_KEYS = ("model", "cluster", "weighting")


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A cluster's spectrum: its row of `spectra`, but for the keys, and its components.

    `eigenvalues` and `shares` (n,), `vectors` (n, n_dims) in rows; n is min(n_vectors, n_dims).
    """

    cluster: str
    weighting: str
    row: Mapping[str, Any]
    eigenvalues: Floats
    shares: Floats
    vectors: Floats

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by, in its model."""
        return self.cluster, self.weighting

    def __str__(self) -> str:
        row = self.row
        return (
            f"spectrum of '{self.cluster}': {row['n_tokens']:,} tokens on {row['n_vectors']:,} vectors, weighted by "
            f"{self.weighting}; rank {row['rank']:,}, participation ratio {row['participation_ratio']:.4g}, variance "
            f"{row['total_variance']:.4g}, of which PC1 has {self.shares[0]:.1%}"
        )


def weighted(ids: Ids, duplicate_of: Ids, weighting: str) -> tuple[Ids, Ids]:
    """Return the different rows among some tokens, and how often each counts."""
    distinct, counts = counted(ids, duplicate_of)
    return distinct, counts if weighting == TOKENS else np.ones_like(counts)


def spectrum(W: Tensor, cluster: str, ids: Ids, duplicate_of: Ids, weighting: str) -> Spectrum:
    """Return the spectrum of tokens `ids` of W, whose rows are finite; CatalogError where all their rows are equal."""
    distinct, counts = weighted(ids, duplicate_of, weighting)
    if len(distinct) < 2:
        rows = "1 finite row" if len(ids) == 1 else f"{len(ids):,} finite rows, all equal"
        raise CatalogError(f"'{cluster}': has {rows}; a spectrum needs 2 different ones")
    components = subset_components(W, distinct, counts)
    return Spectrum(
        cluster,
        weighting,
        {"n_tokens": len(ids), "n_vectors": len(distinct), **_summary(components, len(distinct))},
        components.eigenvalues,
        components.variance_shares,
        components.vectors,
    )


def write_spectra(version: NewVersion, spectra: Sequence[Spectrum]) -> None:
    """Write `spectra` and `spectrum_components`."""
    names = [column.name for column in schemas.SPECTRA.columns if column.name not in _KEYS]
    keys = {"cluster": [one.cluster for one in spectra], "weighting": [one.weighting for one in spectra]}
    version.write(schemas.SPECTRA, keys | {name: [one.row[name] for one in spectra] for name in names})
    with version.writer(schemas.SPECTRUM_COMPONENTS) as writer:
        for one in spectra:
            n = len(one.eigenvalues)
            writer.write(
                {
                    "cluster": [one.cluster] * n,
                    "weighting": [one.weighting] * n,
                    "pc": np.arange(1, n + 1, dtype=np.int32),
                    "eigenvalue": one.eigenvalues,
                    "variance_share": one.shares,
                    "vector": lists_of(one.vectors),
                }
            )


def _summary(components: PrincipalComponents, n_vectors: int) -> dict[str, Any]:
    """Return what the eigenvalues say together. Scaled by the largest, squares neither overflow nor vanish."""
    ranked = rank(components, n_vectors)
    relative = components.eigenvalues / components.eigenvalues[0]
    return {
        "total_variance": float(components.eigenvalues.sum()),
        "participation_ratio": float(relative.sum() ** 2 / (relative**2).sum()),
        "rank": len(ranked.leading.eigenvalues),
        "rank_tolerance": ranked.tolerance,
    }
