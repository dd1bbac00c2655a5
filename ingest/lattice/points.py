"""The distinct rows of a bf16 W as points of the lattice, and which pairs of them are within some steps.

A point is a row's coordinates as int16 (`arithmetic.lattice`). Two that are within so many steps in every dimension are
*near*. A difference of two coordinates may be past int16, and then wraps; but no finite values are more than 65,278
steps apart, so that it doesn't wrap to one of a few steps.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..arithmetic.arrays import CPU_BYTES, Ids, as_index, blocks
from ..arithmetic.lattice import mirrored

Places = npt.NDArray[np.int16]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LatticePoints:
    """The distinct finite rows of W `(n_tokens, n_dims)`, bf16; here a point is known by its index among them.

    `ids` (n_points,): the lowest token_id of each, ascending.
    """

    W: Tensor
    ids: Ids

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_dims(self) -> int:
        """How many coordinates a point has."""
        return int(self.W.shape[1])

    def places(self, points: Indices, dims: Indices | None = None) -> Places:
        """Return the coordinates of some points, all or some of them: `(n, n_dims)`."""
        rows = as_index(self.ids[points], self.W.device)
        bits = self.W.view(torch.int16)
        some = bits[rows] if dims is None else bits[rows[:, None], torch.from_numpy(dims).to(self.W.device)]
        return mirrored(some.cpu().numpy())

    def near(self, i: Indices, j: Indices, steps: int) -> npt.NDArray[np.bool_]:
        """Return for each pair of points whether they are near."""
        found = np.empty(len(i), dtype=bool)
        for part in blocks(len(i), max(1, CPU_BYTES // (2 * self.n_dims))):
            found[part] = within(self.places(i[part]), self.places(j[part]), steps).all(axis=1)
        return found


def within(a: Places, b: Places, steps: int) -> npt.NDArray[np.bool_]:
    """Return where coordinates are within some steps.

    >>> a, b = (np.array(places, np.int16) for places in ([7, 7, -32639], [9, 10, 32639]))
    >>> within(a, b, 2).tolist()
    [True, False, False]
    """
    near: npt.NDArray[np.bool_] = (a - b + np.int16(steps)).view(np.uint16) <= 2 * steps
    return near
