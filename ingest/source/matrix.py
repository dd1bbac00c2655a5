"""One stored matrix: opens a safetensors file and gives its rows in chunks. The only file that reads the format.

W's own bytes are memory-mapped: rows come in as they are asked for, and the whole matrix is never held in another type.
Of a tensor of three dimensions, (steps, tokens, dimensions), one step is the matrix. What else is in the file isn't
mapped with it: the library's own way for torch maps all of a file so that it could be written to, which Linux refuses
where that is more than there is memory.
"""

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from token_catalog.catalog.errors import CatalogError, listed

# safetensors' names of the storage types that are read, and the catalog's.
DTYPES = {"BF16": "bf16", "F16": "fp16", "F32": "fp32"}
_TORCH = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
# What a tensor of U16 may be the bit patterns of.
AS_BITS = ("bf16",)
# Where a file of many steps says which they are: a tensor of that name, or an entry of its metadata.
STEPS = "steps"
# The sky needs three components, so three columns.
MIN_DIMS = 3

_ITEM_BYTES = {"BF16": 2, "F16": 2, "F32": 4, "U16": 2}
_LENGTH = struct.Struct("<Q")
LENGTH_BYTES = _LENGTH.size
# The format's own limit on the header.
_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True)
class Stored:
    """What a header says of a tensor: `start` and `stop` are byte offsets from the beginning of the file."""

    shape: tuple[int, ...]
    dtype: str
    start: int
    stop: int


@dataclass(frozen=True)
class Matrix:
    """A matrix W of shape `(n_tokens, n_dims)` in a safetensors file: a tensor of it, or one step of a tensor.

    `stack_index`: the stored tensor has a dimension more, (steps, tokens, dimensions), and W is what is at that index
    of it. `dtype` is what W's numbers are, also where their bit patterns are stored as U16. `start` is the byte of the
    file that the tensor begins at. Another format's class has its own `_rows`.
    """

    path: Path
    tensor: str
    dtype: str
    n_tokens: int
    n_dims: int
    stack_index: int | None = None
    start: int = 0

    def chunks(self, n_rows: int) -> Iterator[tuple[int, Tensor]]:
        """Yield (first row, rows as stored) for `n_rows` rows at a time, in order."""
        with self._rows() as rows:
            for start in range(0, self.n_tokens, n_rows):
                yield start, self._numbers(rows(start, min(start + n_rows, self.n_tokens)))

    def whole(self) -> Tensor:
        """Return all rows as stored: mapped from the file, and so in memory only as far as they are looked at."""
        with self._rows() as rows:
            return self._numbers(rows(0, self.n_tokens))

    def row(self, token_id: int) -> Tensor:
        """Return one row as stored, `(n_dims,)`."""
        with self._rows() as rows:
            return self._numbers(rows(token_id, token_id + 1))[0]

    @contextmanager
    def _rows(self) -> Iterator[Callable[[int, int], npt.NDArray[Any]]]:
        """Yield what gives the stored rows from one on and up to another."""
        shape = self.n_tokens, self.n_dims
        start = self.start + (self.stack_index or 0) * math.prod(shape) * _TORCH[self.dtype].itemsize
        bits = f"u{_TORCH[self.dtype].itemsize}"
        try:
            # Writing would change a private copy, and not the file; torch warns of what can't be written to.
            mapped = np.memmap(self.path, f"<{bits}", "c", start, shape)
        except (OSError, ValueError) as error:
            raise CatalogError(f"{self.path}: can't be read ({error})") from None
        yield lambda start, stop: mapped[start:stop]

    def _numbers(self, stored: npt.NDArray[Any]) -> Tensor:
        """Return stored rows, or their bit patterns, as W's numbers, without a copy."""
        return torch.from_numpy(stored).view(_TORCH[self.dtype])


def open_matrix(path: Path, tensor: str, stored_as: str | None = None, stack_index: int | None = None) -> Matrix:
    """Return the matrix of that name in a file; CatalogError where the file or the tensor can't serve.

    `stored_as` says what a tensor of U16 has the bit patterns of, one of AS_BITS; `stack_index`, which matrix is meant
    of a tensor of three dimensions.
    """
    stored = stored_tensor(path, tensor)
    matrix = checked_matrix(path, tensor, stored.shape, stored.dtype, stored_as, stack_index)
    return replace(matrix, start=stored.start)


def stored_tensor(path: Path, tensor: str) -> Stored:
    """Return what a file's header says of a tensor; CatalogError where the file has none of that name."""
    with _opened(path, "np") as file:  # which finds what is damaged
        if tensor not in file.keys():  # noqa: SIM118 (no mapping: it has keys() only)
            raise CatalogError(f"{path}: no tensor '{tensor}'; it has {listed(file.keys())}; `tensor=` names another")
    with path.open("rb") as opened:
        beginning = opened.read(LENGTH_BYTES)
        header = beginning + opened.read(header_stop(beginning, str(path)) - LENGTH_BYTES)
    return read_header(header, str(path))[tensor]


def checked_matrix(
    path: Path,
    tensor: str,
    shape: tuple[int, ...],
    dtype: str,
    stored_as: str | None = None,
    stack_index: int | None = None,
    format_: type[Matrix] = Matrix,
) -> Matrix:
    """Return a matrix of this shape and safetensors dtype; CatalogError where it is none that can be catalogued."""
    where = f"{path}: tensor '{tensor}'"
    n_tokens, n_dims = _matrix_shape(where, shape, stack_index)
    if stored_as is not None and dtype != "U16":
        raise CatalogError(f"{where} is stored as {dtype}, and `stored_as={stored_as}` is for U16; leave it out")
    if stored_as is None and dtype == "U16":
        raise CatalogError(
            f"{where} is stored as U16; if these are the bit patterns of bf16, `stored_as=bf16` reads them"
        )
    if stored_as is None and dtype not in DTYPES:
        raise CatalogError(f"{where} is stored as {dtype}; bf16, fp16 and fp32 are read: convert it to one of them")
    return format_(path, tensor, stored_as or DTYPES[dtype], n_tokens, n_dims, stack_index)


def _matrix_shape(where: str, shape: tuple[int, ...], stack_index: int | None) -> tuple[int, int]:
    """Return (n_tokens, n_dims) of a tensor, or of one step of it; CatalogError where they are of no matrix."""
    if stack_index is None and len(shape) == 3:
        raise CatalogError(
            f"{where} has shape {list(shape)}; W must have two dimensions, (tokens, dimensions); "
            "if the first counts steps, `steps=True` takes each step as a matrix"
        )
    if stack_index is not None and len(shape) != 3:
        raise CatalogError(
            f"{where} has shape {list(shape)}; of steps, (steps, tokens, dimensions), it would have three"
        )
    if stack_index is not None and not 0 <= stack_index < shape[0]:
        raise CatalogError(f"{where} has shape {list(shape)}, and so no index {stack_index} in its first dimension")
    shape = shape[1:] if stack_index is not None else shape
    if len(shape) != 2:
        raise CatalogError(f"{where} has shape {list(shape)}; W must have two dimensions, (tokens, dimensions)")
    if shape[0] == 0:
        raise CatalogError(f"{where} has no rows")
    if shape[1] < MIN_DIMS:
        raise CatalogError(f"{where} has shape {list(shape)}; the sky needs {MIN_DIMS} dimensions or more")
    return shape[0], shape[1]


def read_vector(path: Path, tensor: str) -> npt.NDArray[np.float32]:
    """Return a vector of any floating type as fp32; CatalogError where there is none."""
    tensor_ = _tensor(path, tensor)
    if tensor_.dim() != 1 or not tensor_.is_floating_point():
        raise CatalogError(f"{path}: '{tensor}' is no vector, but {tensor_.dtype} of shape {list(tensor_.shape)}")
    vector: npt.NDArray[np.float32] = tensor_.float().numpy()
    return vector


def read_whole_numbers(path: Path, tensor: str) -> npt.NDArray[Any]:
    """Return a tensor of whole numbers, or of true and false, in one dimension, as stored; CatalogError if none."""
    tensor_ = _tensor(path, tensor)
    if tensor_.dim() != 1 or tensor_.is_floating_point() or tensor_.is_complex():
        raise CatalogError(
            f"{path}: '{tensor}' is neither a mask nor token_ids, but {tensor_.dtype} of shape {list(tensor_.shape)}"
        )
    numbers: npt.NDArray[Any] = tensor_.numpy()
    return numbers


def _tensor(path: Path, tensor: str) -> Tensor:
    with _opened(path) as file:
        if tensor not in file.keys():  # noqa: SIM118
            raise CatalogError(f"{path}: no tensor '{tensor}'; it has {listed(file.keys())}")
        found: Tensor = file.get_tensor(tensor)
    return found


def read_steps(path: Path) -> tuple[str | None, npt.NDArray[Any] | None]:
    """Return what a file says of steps: its metadata's `steps`, and its tensor `steps`; None where it says nothing.

    CatalogError where the tensor holds no whole numbers.
    """
    with _opened(path, "np") as file:
        told = (file.metadata() or {}).get(STEPS)
        if STEPS not in file.keys():  # noqa: SIM118
            return told, None
        dtype = file.get_slice(STEPS).get_dtype()
        if not dtype.startswith(("I", "U")):
            raise CatalogError(f"{path}: its tensor '{STEPS}' is stored as {dtype}; steps are whole numbers")
        return told, file.get_tensor(STEPS)


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor in a file."""
    with _opened(path, "np") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def header_stop(beginning: bytes, where: str) -> int:
    """Return where the header of a safetensors file ends, from the file's first `LENGTH_BYTES`."""
    (length,) = _LENGTH.unpack(beginning)
    if length > _MAX_HEADER_BYTES:
        raise _damaged(where)
    return LENGTH_BYTES + int(length)


def read_header(header: bytes, where: str) -> dict[str, Stored]:
    """Return what the header of a safetensors file says, from the file's bytes up to `header_stop`.

    Serves files of which only a part is here (`hub`); `where` names the file in errors.
    """
    try:
        tensors: dict[str, Any] = json.loads(header[LENGTH_BYTES:])
        tensors.pop("__metadata__", None)
        return {name: _stored(about, len(header)) for name, about in tensors.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(where) from None


def _stored(about: Mapping[str, Any], data: int) -> Stored:
    """Check what a header says of one tensor; `data` is where the file's data begin."""
    shape, dtype = tuple(int(n) for n in about["shape"]), str(about["dtype"])
    begin, end = (int(offset) for offset in about["data_offsets"])
    n_bytes = math.prod(shape) * _ITEM_BYTES[dtype] if dtype in _ITEM_BYTES else end - begin
    if begin < 0 or min(shape, default=0) < 0 or end - begin != n_bytes:
        raise ValueError
    return Stored(shape, dtype, data + begin, data + end)


def header_for(tensor: str, stored: Stored) -> bytes:
    """Return the beginning of a safetensors file that holds this one tensor; its bytes follow."""
    about = {"dtype": stored.dtype, "shape": stored.shape, "data_offsets": [0, stored.stop - stored.start]}
    text = json.dumps({tensor: about}).encode()
    text += b" " * (-len(text) % 8)  # the data is aligned to 8 bytes
    return _LENGTH.pack(len(text)) + text


def _damaged(where: str) -> CatalogError:
    return CatalogError(f"{where}: not a safetensors file, or a damaged one")


def _opened(path: Path, framework: str = "pt") -> Any:
    """Return an open file; `framework` is what its tensors become: of "np", no more is mapped than to be read."""
    try:
        return safe_open(path, framework=framework)
    except FileNotFoundError:
        raise CatalogError(f"{path}: no such file") from None
    except SafetensorError as error:
        raise CatalogError(f"{path}: not a safetensors file, or a damaged one ({error}); download it again") from None
    except (OSError, RuntimeError) as error:  # torch's, where the file can't be mapped
        raise CatalogError(f"{path}: can't be read ({error})") from None
