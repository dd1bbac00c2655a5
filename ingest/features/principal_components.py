"""The principal components of W's finite rows, with the signs that a recipe's `orient` settles by one token.

The arithmetic is `arithmetic.components`.
"""

import numpy as np
from torch import Tensor

from token_catalog.catalog.errors import CatalogError

from ..arithmetic.components import SIGN_RESOLUTION, PrincipalComponents, principal_components
from ..recipe.recipe import COORDINATES, Orient, Sky
from .scan import Rows, Scan


def oriented_components(rows: Rows, scan: Scan, sky: Sky) -> PrincipalComponents:
    """Return the principal components of the finite rows, with the signs that the recipe's sky asks for.

    CatalogError where the token that is to settle the signs can't.
    """
    components = principal_components(lambda: rows.finite(scan.finite, "components"), scan.mean, int(scan.finite.sum()))
    if sky.orient:
        _flip_to_signs(components, rows.matrix.row(sky.orient.token), sky, sky.orient)
    return components


def _flip_to_signs(components: PrincipalComponents, row: Tensor, sky: Sky, orient: Orient) -> None:
    """Flip components in place so that one token's coordinates have the signs that the recipe gives."""
    token, w = orient.token, row.double().numpy()
    if not np.isfinite(w).all():
        raise CatalogError(f"recipe: sky.orient.token: row {token} isn't finite, so it can't settle any sign")
    for coordinate, axis in COORDINATES.items():
        vector = components.vectors[getattr(sky, axis) - 1]
        value = float(vector @ w)
        if abs(value) <= SIGN_RESOLUTION * np.linalg.norm(w):
            raise CatalogError(
                f"recipe: sky.orient.{coordinate}: row {token} has {coordinate} = {value:g}, too near to 0 to settle "
                "that sign; give another token"
            )
        if value * orient.signs[coordinate] < 0:
            np.negative(vector, out=vector)
