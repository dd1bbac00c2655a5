"""A catalogued matrix as references see it, whether it was computed a moment ago or is read back from a version."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from torch import Tensor

from token_catalog.catalog.errors import CatalogError

from ..arithmetic.arrays import Floats, Ids


@dataclass(frozen=True)
class MatrixView:
    """A matrix with what was found of it; what few references need is read when it is asked for.

    `W` (n_tokens, n_dims) as stored; `features` and `tokens`, those tables; `components` (n_dims, n_dims), in rows;
    `sky`, the axes x, y and z `(3, n_dims)`.
    """

    W: Tensor
    features: pa.Table
    tokens: Callable[[], pa.Table]
    components: Callable[[], Floats]
    sky: Callable[[], Floats]

    def finite(self, ids: Ids | None = None) -> Ids:
        """Return those of some tokens, or of all, whose rows are finite; CatalogError where there is none."""
        finite = self.features["norm"].combine_chunks().is_valid().to_numpy(zero_copy_only=False)
        kept = np.flatnonzero(finite).astype(np.int32) if ids is None else ids[finite[ids]]
        if not len(kept):
            raise CatalogError("none of its rows is finite")
        return kept

    def norms_bf16(self) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
        """Return `norm_bf16`, 0 where a row isn't finite, `(n_tokens,)`."""
        norms: np.ndarray[tuple[int], np.dtype[np.float32]] = (
            self.features["norm_bf16"].combine_chunks().fill_null(0).to_numpy()
        )
        return norms

    def duplicate_of(self) -> Ids:
        """Return `duplicate_of`, a row's own number where it isn't finite, `(n_tokens,)`."""
        column = self.features["duplicate_of"].combine_chunks()
        own = np.arange(len(column), dtype=np.int32)
        return np.where(column.is_valid(), column.fill_null(0), own).astype(np.int32)
