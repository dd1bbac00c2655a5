"""W -> the columns of `features`, `principal_components` and `component_diameters`: passes over the rows, in chunks.

1. `scan`: norms, duplicates, the mean and the tensor's hash;
2. `principal_components`: the covariance about that mean, and its eigenvectors;
3. `project`: every row's place on the sky;
4. `link`: single linkage.
Rows with a NaN or an infinity take part in the first only, where they are found.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.tables import lists_of
from token_catalog.ingest.arithmetic.bf16 import norm_bf16
from token_catalog.ingest.devices import fits
from token_catalog.ingest.features import sky as geometry
from token_catalog.ingest.features.sky import Components, Floats
from token_catalog.ingest.linkage import scale as radius
from token_catalog.ingest.linkage import single_linkage as linkage
from token_catalog.ingest.linkage.candidates import Candidates
from token_catalog.ingest.linkage.projections import DistinctRows
from token_catalog.ingest.linkage.scale import Choice
from token_catalog.ingest.recipe.recipe import COORDINATES, LinkageDistances, Sky
from token_catalog.ingest.report import Progress, silent
from token_catalog.ingest.source.matrix import Matrix

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
    def n_zero(self) -> int:
        """How many rows are zero."""
        return int((self.finite & (self.norm == 0)).sum())


class Rows:
    """A matrix's rows, as stored, in chunks on a device. What fits in a GPU's memory travels there once."""

    def __init__(self, matrix: Matrix, device: torch.device, progress: Progress) -> None:
        """Wrap a matrix."""
        self.matrix = matrix
        self.device = device
        self.n_rows = max(1, CHUNK_BYTES // (8 * matrix.n_dims))
        self._progress = progress
        self._resident: Tensor | None = None

    def both(self, stage: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Read the matrix: give each chunk as stored, on the CPU and on the device (one and the same there)."""
        n_chunks = -(-self.matrix.n_tokens // self.n_rows)
        kept: Tensor | None = None
        for start, stored in self._progress(self.matrix.chunks(self.n_rows), stage, n_chunks):
            moved = stored.to(self.device)
            if start == 0 and self.device.type == "cuda":
                shape = self.matrix.n_tokens, self.matrix.n_dims
                kept = moved.new_empty(shape) if fits(moved.element_size() * math.prod(shape), self.device) else None
            if kept is not None:
                kept[start : start + len(moved)] = moved
            yield stored, moved
        self._resident = kept

    def on_device(self, stage: str) -> Iterator[tuple[int, Tensor]]:
        """Give (first row, rows as stored, on the device)."""
        starts = range(0, self.matrix.n_tokens, self.n_rows)
        if self._resident is not None:
            yield from ((start, self._resident[start : start + self.n_rows]) for start in starts)
            return
        for start, (_, moved) in zip(starts, self.both(stage), strict=True):
            yield start, moved

    def finite(self, finite: npt.NDArray[np.bool_], stage: str) -> Iterator[Tensor]:
        """Give the finite rows as stored, in chunks on the device."""
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


def principal_components(rows: Rows, found: Scan, sky: Sky) -> Components:
    """Return the principal components of the finite rows, with the signs that the recipe asks for."""
    components = geometry.principal_components(
        lambda: rows.finite(found.finite, "components"), found.mean, int(found.finite.sum())
    )
    _orient(components, rows.matrix, found, sky)
    return components


def project(rows: Rows, found: Scan, components: Components, sky: Sky) -> dict[str, Any]:
    """Return the columns of `features`, NULL where a row isn't finite."""
    n_leading = min(geometry.N_LEADING, rows.matrix.n_dims)
    # A sky axis past the leading components is projected on beside them; the others are among them.
    numbers = [*range(1, n_leading + 1), *(abs(axis) for axis in sky.axes() if abs(axis) > n_leading)]
    basis = torch.from_numpy(components.vectors[np.array(numbers) - 1]).to(rows.device).T
    chunks = rows.finite(found.finite, "sky")
    projections = np.full((len(found.finite), len(numbers)), np.nan)
    projections[found.finite] = np.concatenate([(chunk.double() @ basis).cpu().numpy() for chunk in chunks]) + 0.0
    duplicate_of, duplicate_count = _duplicates(found)
    # The last bit of a projection depends on where in its chunk the row stood: equal rows get the first one's.
    projections = projections[duplicate_of]
    x, y, z = (np.sign(axis) * projections[:, numbers.index(abs(axis))] + 0.0 for axis in sky.axes())
    radius, lat, lon = geometry.sky(x, y, z)
    missing = ~found.finite
    norm = found.norm[duplicate_of]
    masked = {"x": x, "y": y, "z": z, "radius": radius, "norm": norm, "norm_bf16": found.norm_bf16}
    masked |= {"duplicate_of": duplicate_of, "duplicate_count": duplicate_count}
    return {
        "token_id": np.arange(len(missing), dtype=np.int32),
        **{name: np.ma.MaskedArray(values, missing) for name, values in masked.items()},
        "lat": np.ma.MaskedArray(lat, np.isnan(lat)),
        "lon": np.ma.MaskedArray(lon, np.isnan(lon)),
        "pcs": lists_of(projections[:, :n_leading], missing),
    }


@dataclass(frozen=True)
class Linked:
    """What linking a matrix gives: columns of `features`, those of `component_diameters`, and how far it was done."""

    columns: dict[str, Any]
    diameters: dict[str, Any]
    choice: Choice


def link(
    W: Tensor,
    digests: list[bytes],
    basis: Floats,
    columns: Mapping[str, Any],
    limits: LinkageDistances,
    progress: Progress = silent,
) -> Linked:
    """Link the rows of W `(n_tokens, n_dims)` as stored.

    `digests`, of all rows; `basis` (n_dims, n_dims), the principal components in rows; `columns`, of `features` as
    `project` gives them: duplicate_of, duplicate_count and norm as masked arrays, pcs as lists.
    """
    duplicate_of = columns["duplicate_of"]
    finite = ~np.ma.getmaskarray(duplicate_of)
    ids = np.flatnonzero(finite & (duplicate_of.data == np.arange(len(finite)))).astype(np.int32)
    counts, norms = (columns[name].data[ids] for name in ("duplicate_count", "norm"))
    vectors = DistinctRows(W, ids, counts, norms, radius.sampled(digests, ids))
    leading = np.asarray(columns["pcs"].flatten()).reshape(int(finite.sum()), -1)[np.cumsum(finite)[ids] - 1]
    candidates = Candidates(vectors, basis, leading, progress)
    choice = radius.choose(vectors, limits)
    linked = linkage.link(vectors, candidates.within(choice.radius), choice.radius, choice.threshold)
    if limits.threshold is None:
        lowered = radius.threshold_in_gap(choice, linked, counts)
        if lowered != choice:  # neighbours are counted at the threshold
            near = candidates.within(lowered.threshold)
            again = linkage.link(vectors, near, lowered.threshold, lowered.threshold)
            linked, choice = replace(linked, n_neighbors=again.n_neighbors), lowered
    diameters = linkage.diameters(vectors, linked.components(choice.threshold))
    return Linked(
        linkage.token_columns(linked, vectors, duplicate_of.data, finite, choice.threshold),
        {"component": ids[list(diameters)], "diameter": list(diameters.values())},
        choice,
    )


def _hash(hasher: "hashlib._Hash", stored: Tensor) -> list[bytes]:
    """Feed the stored bytes to the tensor's hash, and return the rows' digests."""
    hasher.update(stored.contiguous().view(torch.uint8).numpy().data)
    return linkage.row_digests(stored)


def _duplicates(found: Scan) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return `duplicate_of` and `duplicate_count` among finite rows (itself and 0 elsewhere)."""
    ids = np.flatnonzero(found.finite).astype(np.int32)
    first, count = linkage.duplicates([found.digests[i] for i in ids])
    duplicate_of = np.arange(len(found.finite), dtype=np.int32)
    duplicate_count = np.zeros_like(duplicate_of)
    duplicate_of[ids], duplicate_count[ids] = ids[first], count
    return duplicate_of, duplicate_count


def _orient(components: Components, matrix: Matrix, found: Scan, sky: Sky) -> None:
    """Flip components in place so that the oriented token's coordinates have the recipe's signs, if it has any."""
    if sky.orient is None:
        return
    token = sky.orient.token
    if not found.finite[token]:
        raise CatalogError(f"recipe: sky.orient.token: row {token} isn't finite, so it can't settle any sign")
    row = matrix.row(token).double().numpy()
    for coordinate, axis in COORDINATES.items():
        vector = components.vectors[getattr(sky, axis) - 1]
        value = float(vector @ row)
        if abs(value) <= geometry.SIGN_RESOLUTION * np.linalg.norm(row):
            raise CatalogError(
                f"recipe: sky.orient.{coordinate}: row {token} has {coordinate} = {value:g}, too near to 0 to settle "
                "that sign; give another token"
            )
        if value * sky.orient.signs[coordinate] < 0:
            np.negative(vector, out=vector)
