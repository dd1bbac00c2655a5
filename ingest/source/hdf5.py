"""One matrix in an HDF5 file: a data set of two dimensions, or one step of three. The only file that reads the format.

A data set is read a stretch of rows at a time, whatever its chunks and compression. Only what is in the file itself is
read: HDF5 can point into other files (external links, external storage, virtual data sets), and these are refused.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from token_catalog.catalog.errors import CatalogError, listed

from .matrix import STEPS, Matrix, checked_matrix

HDF5_SUFFIXES = (".h5", ".hdf5")
# safetensors' names of NumPy's types, whichever way their bytes are ordered.
_DTYPES = {("f", 2): "F16", ("f", 4): "F32", ("u", 2): "U16"}
# The fields of bf16: where the sign is, where exponent and mantissa are and how wide; and the exponent's bias.
_BF16_FIELDS, _BF16_BIAS = (15, 7, 8, 0, 7), 127


@dataclass(frozen=True)
class Hdf5Matrix(Matrix):
    """A matrix in an HDF5 data set; `tensor` is its path in the file."""

    @contextmanager
    def _rows(self) -> Iterator[Callable[[int, int], npt.NDArray[Any]]]:
        with _opened(self.path) as file:
            stored = _dataset(self.path, file, self.tensor)
            yield lambda start, stop: self._read(stored, start, stop)

    def _read(self, stored: Any, start: int, stop: int) -> npt.NDArray[Any]:
        """Return rows as stored, or their bit patterns, in this machine's order of bytes."""
        first = () if self.stack_index is None else (self.stack_index,)
        if _is_bf16(stored):
            return _bits(stored, first, start, stop)
        rows: npt.NDArray[Any] = stored[(*first, slice(start, stop))]
        return rows.astype(rows.dtype.newbyteorder("="), copy=False)


def open_dataset(path: Path, tensor: str, stored_as: str | None = None, stack_index: int | None = None) -> Matrix:
    """Return the matrix of that name in a file, as `open_matrix` does; CatalogError where it can't serve."""
    shape, dtype = dataset_shape(path, tensor)
    return checked_matrix(path, tensor, shape, dtype, stored_as, stack_index, Hdf5Matrix)


def dataset_shape(path: Path, tensor: str) -> tuple[tuple[int, ...], str]:
    """Return a data set's shape, and safetensors' name of its type, or what to call another."""
    with _opened(path) as file:
        stored = _dataset(path, file, tensor)
        if _is_bf16(stored):
            return stored.shape, "BF16"
        dtype, size = stored.dtype, stored.id.get_type().get_size()
        if dtype.itemsize != size:  # h5py would convert it to the next wider type
            return stored.shape, f"numbers of {size} bytes that NumPy has no type for"
        named = _DTYPES.get((dtype.kind, dtype.itemsize))
        return stored.shape, named or ("a compound type" if dtype.names else str(dtype))


def dataset_steps(path: Path) -> npt.NDArray[Any] | None:
    """Return the data set `steps` at the file's root, of any type and shape; None where there is none."""
    with _opened(path) as file:
        if file.get(STEPS, getlink=True) is None:  # `in` would follow a link to another file
            return None
        return np.asarray(_dataset(path, file, STEPS)[()])


def _dataset(path: Path, file: Any, name: str) -> Any:
    """Return a data set whose numbers are in this very file; CatalogError where there is none of that name."""
    import h5py

    found, at = file, ""
    for part in [part for part in name.split("/") if part]:
        link = found.get(part, getlink=True) if isinstance(found, h5py.Group) else None
        if link is None:
            raise CatalogError(
                f"{path}: no data set '{name}'; {at or 'it'} has {_held(found)}; `tensor=` names another"
            )
        at = f"{at}/{part}"
        if not isinstance(link, h5py.HardLink):
            elsewhere = f" in {link.filename!r}" if isinstance(link, h5py.ExternalLink) else ""
            raise CatalogError(
                f"{path}: '{at}' is a link to {link.path!r}{elsewhere}, and links aren't followed; "
                "name the data set itself with `tensor=`"
            )
        found = found[part]
    if not isinstance(found, h5py.Dataset):
        raise CatalogError(f"{path}: '{name}' is no data set; it has {_held(found)}; `tensor=` names another")
    if found.external or found.is_virtual:
        raise CatalogError(f"{path}: data set '{name}' keeps its numbers in other files; store them in this one")
    if found.shape is None:
        raise CatalogError(f"{path}: data set '{name}' is empty")
    return found


def _held(group: Any) -> str:
    """Return the names in a group, none of which is looked up; a data set has none."""
    import h5py

    return listed(group.keys() if isinstance(group, h5py.Group) else ())


def _is_bf16(stored: Any) -> bool:
    """Whether a data set's type is bf16, little-endian: h5py knows no NumPy type for it, and would read fp32."""
    import h5py

    type_ = stored.id.get_type()
    return (
        isinstance(type_, h5py.h5t.TypeFloatID)
        and type_.get_size() == 2
        and type_.get_order() == h5py.h5t.ORDER_LE
        and type_.get_fields() == _BF16_FIELDS
        and type_.get_ebias() == _BF16_BIAS
    )


def _bits(stored: Any, first: tuple[int, ...], start: int, stop: int) -> npt.NDArray[np.uint16]:
    """Return rows of bf16 as their bit patterns, which nothing converts."""
    import h5py

    bits = np.empty((stop - start, stored.shape[-1]), np.uint16)
    there = stored.id.get_space()
    there.select_hyperslab((*first, start, 0), (*(1 for _ in first), *bits.shape))
    stored.id.read(h5py.h5s.create_simple(bits.shape), there, bits, mtype=stored.id.get_type())
    return bits


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yield an open file; HDF5's errors, which are of many kinds, become ours in all that is done with it."""
    try:
        import h5py
    except ImportError:
        raise CatalogError(f"{path}: HDF5 is read with h5py: pip install 'token-catalog[hdf5]'") from None
    if not path.is_file():
        raise CatalogError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise CatalogError(f"{path}: can't be read as HDF5 ({reason}); if it is damaged, make it again") from None
