"""A catalogued model turned onto another: an orthogonal Procrustes alignment of the tokens of both; the rest stays.

Which tokens are matched is handed in, as `queries/comparing/` finds it. The rotation isn't stored: what it leaves
between the rows is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from token_catalog.catalog import schemas
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.state import Version

from .alignment.procrustes import Alignment, MatchedRows, align
from .alignment.tables import write_alignment
from .devices import fp64_device, placed
from .new_version import NewVersion
from .report import Report
from .stored_model import StoredModel, revise

_TABLES = (schemas.ALIGNMENTS, schemas.ALIGNED_TOKENS)


@dataclass(frozen=True)
class Asked:
    """With which version of which model, by which matched tokens (token_a, token_b, ambiguous), where to compute."""

    own: Version
    other: StoredModel
    matched: pa.Table
    device: torch.device


def align_models(
    catalog: Path,
    model: str,
    other: str,
    versions: Mapping[str, Version],
    matched: pa.Table,
    device: str = "auto",
) -> Report:
    """Align a model with another, by their keys, and publish it with the tables of that.

    `matched` are the tokens of both, in these `versions` of the models: columns token_a, token_b and ambiguous.
    On bad input: CatalogError, and the catalog is as it was.
    """
    stored = StoredModel(other, catalog / versions[other].folder)
    return revise(catalog, model, partial(_add, Asked(versions[model], stored, matched, fp64_device(device))))


def _add(asked: Asked, stored: StoredModel, new: NewVersion) -> None:
    """Write the tables of alignments."""
    other = asked.other
    for model, changed in (
        (stored.model, not stored.folder.match(asked.own.folder)),
        (other.model, not other.folder.exists()),
    ):
        if changed:
            raise CatalogError(f"{model}: was replaced in the meantime; nothing was changed: try again")
    with new.stage("read"):
        W, beside = placed(stored.W(), asked.device), placed(other.W(), asked.device)
    rows = _matched_rows(asked.matched, W, beside)
    with new.stage("alignment"):
        try:
            found = align(W, beside, rows)
        except CatalogError as error:
            raise CatalogError(f"{stored.model}, {other.model}: {error}") from None
    _tell(found, rows, other, new)
    with new.stage("tables"):
        before = {table.name: stored.table(table) for table in _TABLES if (stored.folder / table.file_name).exists()}
        write_alignment(new, before, {"model": other.model, **other.about}, found, rows)


def _matched_rows(matched: pa.Table, W: torch.Tensor, other: torch.Tensor) -> MatchedRows:
    """Return the matched tokens whose rows are finite on both sides."""
    own_ids, other_ids = (matched[name].to_numpy().astype(np.int32) for name in ("token_a", "token_b"))
    fitted = ~matched["ambiguous"].to_numpy()
    finite = _finite(W)[own_ids] & _finite(other)[other_ids]
    return MatchedRows(own_ids[finite], other_ids[finite], fitted[finite])


def _finite(W: torch.Tensor) -> Any:
    """Whether each row is finite, `(n_tokens,)`."""
    return torch.isfinite(W.abs().amax(dim=1)).cpu().numpy()


def _tell(found: Alignment, rows: MatchedRows, other: StoredModel, new: NewVersion) -> None:
    """Note how near the models are; warn where the rotation isn't the only one."""
    rotation, n_fitted = found.rotation, int(rows.fitted.sum())
    new.note(
        f"aligned with {other.model} by {n_fitted:,} tokens: residual {found.residual:.4g}, {found.relative:.1%} of "
        f"what it was turned onto; a scale of {rotation.scale:.4g} would be best"
    )
    if rotation.n_directions < len(rotation.R):
        new.report.warnings.append(
            f"{new.model}: the {n_fitted:,} tokens in common with {other.model} settle {rotation.n_directions:,} of "
            f"{len(rotation.R):,} directions; how the others are turned is arbitrary, and so is what is told of tokens "
            "that weren't fitted"
        )
