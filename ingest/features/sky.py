"""Every row's place on the sky that three principal components span, and the other columns of `features` by row."""

from typing import Any

import numpy as np
import torch

from token_catalog.catalog.tables import lists_of

from ..arithmetic.arrays import Floats, Ids
from ..arithmetic.components import PrincipalComponents
from ..arithmetic.distances import distances_to
from ..arithmetic.sphere import spherical
from ..recipe.recipe import Recipe
from .causal import causal_norms
from .duplicates import duplicates
from .scan import Rows, Scan


def feature_columns(
    rows: Rows, scan: Scan, components: PrincipalComponents, recipe: Recipe, axes: Floats | None = None
) -> dict[str, Any]:
    """Return the columns of `features` but those of linkage, a value per row of W, NULL where the row isn't finite.

    `axes` x, y, z `(3, n_dims)` of the sky; without them, those components that the recipe says.
    """
    duplicate_of, duplicate_count = _duplicates(scan)
    n_leading, sky = recipe.pca.n_leading(rows.matrix.n_dims), recipe.sky
    # A sky axis past the leading components is projected on beside them; the others are among them.
    numbers = [*range(1, n_leading + 1), *(abs(axis) for axis in sky.axes() if abs(axis) > n_leading)]
    directions = components.vectors[np.array(numbers) - 1]
    if axes is not None:
        directions = np.concatenate([directions[:n_leading], axes])
    # The last bit of a projection depends on where in its chunk the row stood: equal rows get the first one's.
    projections, centred_norm = (column[duplicate_of] for column in _projections(rows, scan, directions))
    if axes is None:
        x, y, z = (np.sign(axis) * projections[:, numbers.index(abs(axis))] + 0.0 for axis in sky.axes())
    else:
        x, y, z = projections[:, n_leading:].T
    radius, lat, lon = spherical(x, y, z)
    causal = causal_norms(rows, scan, components, recipe.causal_epsilon)[duplicate_of]
    missing = ~scan.finite
    values = {
        "norm": scan.norm[duplicate_of],
        "norm_bf16": scan.norm_bf16,
        "centred_norm": centred_norm,
        **{"x": x, "y": y, "z": z, "radius": radius},
        "duplicate_of": duplicate_of,
        "duplicate_count": duplicate_count,
    }
    return {
        "token_id": np.arange(len(missing), dtype=np.int32),
        **{name: np.ma.MaskedArray(column, missing) for name, column in values.items()},
        "lat": np.ma.MaskedArray(lat, np.isnan(lat)),
        "lon": np.ma.MaskedArray(lon, np.isnan(lon)),
        "causal_norm": np.ma.MaskedArray(causal, np.isnan(causal)),
        "pcs": lists_of(projections[:, :n_leading], missing),
    }


def _projections(rows: Rows, scan: Scan, directions: Floats) -> tuple[Floats, Floats]:
    """Return every row's products with some unit vectors `(n, n_dims)`, and its distance from the mean.

    `(n_tokens, n)` and `(n_tokens,)`; NaN where the row isn't finite.
    """
    basis = torch.from_numpy(directions).to(rows.device).T
    found = []
    for chunk in rows.finite(scan.finite, "sky"):
        exact = chunk.double()
        found.append(torch.hstack([exact @ basis, distances_to(exact, scan.mean[None])]).cpu().numpy())
    columns = np.full((len(scan.finite), len(directions) + 1), np.nan)
    columns[scan.finite] = np.concatenate(found) + 0.0
    return columns[:, :-1], columns[:, -1]


def _duplicates(scan: Scan) -> tuple[Ids, Ids]:
    """Return `duplicate_of` and `duplicate_count` among finite rows (itself and 0 elsewhere)."""
    ids = np.flatnonzero(scan.finite).astype(np.int32)
    first, count = duplicates([scan.digests[i] for i in ids])
    duplicate_of = np.arange(len(scan.finite), dtype=np.int32)
    duplicate_count = np.zeros_like(duplicate_of)
    duplicate_of[ids], duplicate_count[ids] = ids[first], count
    return duplicate_of, duplicate_count
