"""The first pass over W: which rows are finite, their norms and digests, the mean, and the hash of the tensor."""

import hashlib
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from token_catalog.catalog.errors import CatalogError

from ..arithmetic.arrays import Floats
from ..arithmetic.bf16 import norm_bf16
from ..devices import fits
from ..report import progress_bar
from ..source.matrix import Matrix
from .duplicates import row_digests

# A chunk in fp64: large enough for BLAS, small enough that what it allocates is used again, not given back each time.
CHUNK_BYTES = 16 << 20

# Chunks that may wait to be hashed, where the device is faster.
MOST_WAITING = 4


@dataclass(frozen=True)
class Scan:
    """What one pass over a matrix finds; arrays have a value per row of W, finite or not."""

    finite: npt.NDArray[np.bool_]
    norm: Floats
    norm_bf16: npt.NDArray[np.float32]
    digests: list[bytes]
    mean: Tensor
    sha256: str

    @property
    def n_nonfinite(self) -> int:
        """How many rows have a NaN or an infinity."""
        return int((~self.finite).sum())

    @property
    def n_zero(self) -> int:
        """How many rows are zero."""
        return int((self.finite & (self.norm == 0)).sum())


class Rows:
    """A matrix's rows, as stored, in chunks on a device. What fits in a GPU's memory travels there once."""

    def __init__(self, matrix: Matrix, device: torch.device) -> None:
        """Wrap a matrix."""
        self.matrix = matrix
        self.device = device
        self.n_rows = max(1, CHUNK_BYTES // (8 * matrix.n_dims))
        self._resident: Tensor | None = None

    def both(self, stage: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Read the matrix: give each chunk as stored, on the CPU and on the device (one and the same there)."""
        n_chunks = -(-self.matrix.n_tokens // self.n_rows)
        kept: Tensor | None = None
        for start, stored in progress_bar(self.matrix.chunks(self.n_rows), stage, n_chunks):
            moved = stored.to(self.device)
            if start == 0 and self.device.type == "cuda":
                shape = self.matrix.n_tokens, self.matrix.n_dims
                kept = moved.new_empty(shape) if fits(moved.element_size() * math.prod(shape), self.device) else None
            if kept is not None:
                kept[start : start + len(moved)] = moved
            yield stored, moved
        self._resident = kept

    def on_device(self, stage: str) -> Iterator[tuple[int, Tensor]]:
        """Yield (first row, rows as stored, on the device)."""
        starts = range(0, self.matrix.n_tokens, self.n_rows)
        if self._resident is not None:
            yield from ((start, self._resident[start : start + self.n_rows]) for start in starts)
            return
        for start, (_, moved) in zip(starts, self.both(stage), strict=True):
            yield start, moved

    def finite(self, finite: npt.NDArray[np.bool_], stage: str) -> Iterator[Tensor]:
        """Yield the finite rows as stored, in chunks on the device."""
        for start, rows in self.on_device(stage):
            kept = finite[start : start + len(rows)]
            yield rows if kept.all() else rows[torch.from_numpy(kept).to(rows.device)]

    def whole(self) -> Tensor:
        """Return all rows as stored: on the device where they fit there, else mapped from the file."""
        return self.matrix.whole() if self._resident is None else self._resident


def scan(rows: Rows) -> Scan:
    """Pass over W once; CatalogError where no row is finite."""
    total = torch.zeros(rows.matrix.n_dims, dtype=torch.float64, device=rows.device)
    hasher = hashlib.sha256()
    finite, norm, norm16, hashed = [], [], [], []
    # Hashing lets go of Python's lock, so one thread hashes while torch computes.
    with ThreadPoolExecutor(max_workers=1) as thread:
        for stored, chunk in rows.both("scan"):
            hashed.append(thread.submit(_hash, hasher, stored))
            if len(hashed) > MOST_WAITING:
                hashed[-MOST_WAITING].result()
            kept = torch.isfinite(chunk).all(dim=1)
            if not kept.all():
                chunk = torch.where(kept[:, None], chunk, torch.zeros((), dtype=chunk.dtype, device=chunk.device))
            exact = chunk.double()
            total += exact.sum(dim=0)
            finite.append(kept.cpu().numpy())
            norm.append(torch.linalg.vector_norm(exact, dim=1).cpu().numpy())
            rounded = exact if rows.matrix.dtype == "bf16" else chunk.to(torch.bfloat16).double()
            norm16.append(norm_bf16(rounded).cpu().numpy())
        digests = [digest for future in hashed for digest in future.result()]
    is_finite = np.concatenate(finite)
    if not is_finite.any():
        raise CatalogError(f"{rows.matrix.path}: tensor '{rows.matrix.tensor}' has no finite row")
    return Scan(
        is_finite,
        np.concatenate(norm),
        np.concatenate(norm16),
        digests,
        total / int(is_finite.sum()),
        hasher.hexdigest(),
    )


def _hash(hasher: "hashlib._Hash", stored: Tensor) -> list[bytes]:
    """Feed the stored bytes to the tensor's hash, and return the rows' digests."""
    hasher.update(stored.contiguous().view(torch.uint8).numpy().data)
    return row_digests(stored)
