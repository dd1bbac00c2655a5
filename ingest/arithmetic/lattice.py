"""The bf16 lattice: finite bf16 values as whole numbers on one ordered line (catalog/README.md, section 6)."""

import numpy as np
import numpy.typing as npt


def mirrored(bits: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """Return -32768 - b for each b < 0, and the others as they are; done twice, it undoes itself but for -0.0.

    The bits of negative floats, as int16, go down as their values go up: mirrored, they are the lattice's points.

    >>> mirrored(np.array([5, -32768, -32763, -1], np.int16)).tolist()
    [5, 0, -5, -32767]
    """
    negative = bits >> 15  # all ones, which is -1, where it is
    points: npt.NDArray[np.int16] = (bits ^ (negative & np.int16(0x7FFF))) - negative
    return points
