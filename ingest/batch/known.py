"""What a catalog has, read once for each state of it: which matrices need no ingest, and whose sky each is on."""

import hashlib
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from token_catalog.catalog import schemas
from token_catalog.catalog.publish import catalogued
from token_catalog.catalog.state import State, current_generation, pinned, read_state

from ..recipe.recipe import errors_from
from ..references.token_files import read_token_files
from ..run import Job, by_tensor
from ..shared_sky import read_shared
from ..source.matrix import Matrix
from .members import members_of

COLUMNS = ("model", "series", "step", "role", "recipe", "catalog_version", "tensor_sha256", "n_vocab")


@dataclass
class Known:
    """A state of a catalog: its rows of `models`, by model; models by the hash of their tensor; members of series."""

    catalog: Path
    state: State
    rows: dict[str, dict[str, Any]]
    tensors: dict[str, list[str]]
    _members: dict[tuple[str, str | None], list[dict[str, Any]]] = field(default_factory=dict)

    def members(self, series: str, role: str | None) -> list[dict[str, Any]]:
        """Return what `members_of` does."""
        key = series, role
        if key not in self._members:
            self._members[key] = members_of(self.catalog, series, role)
        return self._members[key]

    def has(self, job: Job, *, first: bool) -> bool:
        """Whether every matrix of a job is there as it would be ingested; `first`, on its series' sky as its own.

        That is the same tensor, recipe, version, place in a series and sky, and no fewer tables than are asked for.
        """
        matrices = job.source.matrices
        return matrices.keys() <= self.rows.keys() and all(
            self._is_same(job, model, matrix)
            and self._is_on_sky(job, model, kind, first=first)
            # Of the tensor every byte is read.
            and self.rows[model]["tensor_sha256"] == _sha256(matrix)
            for model, (kind, matrix) in matrices.items()
        )

    def _is_same(self, job: Job, model: str, matrix: Matrix) -> bool:
        row = self.rows[model]
        with errors_from(job.recipe.origin):
            recipe, _ = read_token_files(job.recipe, matrix.n_tokens)
        told = {"recipe": recipe.dumps(), "catalog_version": version("token-catalog"), **asdict(job.place)}
        if any(row[key] != value for key, value in told.items()):
            return False
        vectors = self.catalog / self.state.models[model].folder / schemas.VECTORS.file_name
        if job.with_vectors and not vectors.exists():
            return False
        return job.vocabulary is None or row["n_vocab"] == len(job.vocabulary)

    def _is_on_sky(self, job: Job, model: str, kind: str | None, *, first: bool) -> bool:
        series, role = job.place.series, job.place.role
        if series is None:
            return True
        frames = {row["model"]: row for row in self.members(series, role)}
        shared = None if first else job.shared(kind)
        if model not in frames or frames[model]["frame_of"] != (shared.frame_of if shared else model):
            return False
        if shared is None:
            return True
        # The model that they are of may be another than it was.
        own = read_shared(frames[model]["folder"], model)
        return own is not None and np.array_equal(own.axes, shared.axes)


def known(catalog: Path) -> Known:
    """Return what a catalog has now."""
    generation = current_generation(catalog)
    return _read(catalog) if generation is None else _known(catalog, generation)


def forget_known() -> None:
    """Forget what was read."""
    _known.cache_clear()


@lru_cache(maxsize=1)
def _known(catalog: Path, generation: Path) -> Known:
    return _read(catalog)


def _read(catalog: Path) -> Known:
    with pinned(catalog):
        rows = {row["model"]: row for row in catalogued(catalog).select(list(COLUMNS)).to_pylist()}
        tensors = by_tensor((model, row["tensor_sha256"]) for model, row in rows.items())
        return Known(catalog, read_state(catalog), rows, tensors)


def _sha256(matrix: Matrix) -> str:
    hasher = hashlib.sha256()
    for _, rows in matrix.chunks(max(1, (16 << 20) // (4 * matrix.n_dims))):
        hasher.update(rows.contiguous().view(torch.uint8).numpy().data)
    return hasher.hexdigest()
