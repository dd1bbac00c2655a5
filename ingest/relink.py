"""Linking a catalogued model anew, further or less far, from what the catalog holds; the rest of it stays as it is."""

import json
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from catalog import schemas
from catalog.errors import CatalogError
from catalog.publish import staging
from catalog.state import held, read_state, require, state_of
from catalog.tables import read_columns, read_lists, read_row, write_table
from ingest import features, linkage
from ingest.devices import enough_memory, fits, fp64_device
from ingest.progress import shown
from ingest.recipes import LIMITS, Limits
from ingest.run import Report, chosen, tell

# What a matrix was stored as; `vectors` has its values as FLOAT, exactly.
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def relink(catalog: Path, name: str, limits: Limits, device: str = "auto") -> Report:
    """Link the models of this key or name anew, and publish them together.

    What `limits` leaves open stays as it was; with nothing given, the rule chooses again. On bad input: CatalogError,
    and the catalog is as it was.
    """
    limits.check("--")
    where = fp64_device(device)
    report = Report()
    catalog = require(catalog)
    with held(catalog) as database:  # nobody clears what is read here
        state = state_of(database.parent) or read_state(catalog)
        with staging(catalog) as area:
            for model in state.named(name):
                old = state.models[model]
                new = area.version(model, old.name, old)
                with enough_memory(model):
                    _relink(report, catalog / old.folder, new, model, limits, where)
                report.models.append(model)
            with report.stage("publish"):
                area.publish(replace=True)
    return report


def _relink(report: Report, old: Path, new: Path, model: str, limits: Limits, device: torch.device) -> None:
    """Write the tables that linking changes into the new version's folder."""
    about = read_row(old, schemas.MODELS)
    asked = limits.as_dict()
    kept = _kept(model, asked, about)
    with report.stage("read"):
        W, digests = _rows(old, model, about)
        basis = np.concatenate(list(read_lists(old, schemas.PRINCIPAL_COMPONENTS, "vector")))
        columns = read_columns(old, schemas.FEATURES)
    with report.stage("linkage"):
        masked = {name: _masked(columns[name]) for name in ("duplicate_of", "duplicate_count", "norm")}
        if fits(W.nbytes, device):
            W = W.to(device)
        linked = features.link(W, digests, basis, {"pcs": columns["pcs"], **masked}, Limits(**asked | kept), shown)
    choice = linked.choice
    if "radius" in kept:
        choice = replace(choice, radius_rule="as before")
    if "threshold" in kept:
        choice = replace(choice, threshold_rule="as before")
    recipe = json.loads(about["recipe"])
    # With nothing asked, the rule chose again.
    recipe["linkage"] = recipe.get("linkage", {}) | asked if asked else {}
    about |= {"recipe": json.dumps(recipe), "catalog_version": version("token-catalog"), **chosen(choice)}
    tell(report, model, linked, choice)
    with report.stage("tables"):
        provenance = json.dumps({key: value for key, value in about.items() if key != "ingested_at"})
        write_table(new, schemas.FEATURES, model, provenance, columns | linked.columns)
        write_table(new, schemas.COMPONENT_DIAMETERS, model, provenance, linked.diameters)
        write_table(new, schemas.MODELS, model, provenance, {key: [value] for key, value in about.items()})


def _kept(model: str, asked: dict[str, float], about: dict[str, Any]) -> dict[str, float]:
    """Return which limit stays as it was, beside the one asked for; where that can't be, CatalogError."""
    before = {name: about.get(f"linkage_{name}") for name in LIMITS}
    kept = {name: value for name, value in before.items() if asked and name not in asked and value is not None}
    limits = asked | kept
    if kept and limits["threshold"] > limits["radius"]:
        radius, threshold = f"{limits['radius']:g}", f"{limits['threshold']:g}"
        if "threshold" in kept:
            raise CatalogError(f"{model}: its threshold {threshold} is past --radius {radius}; give --threshold too")
        raise CatalogError(
            f"{model}: is linked up to {radius}, and --threshold {threshold} is past that; give --radius too"
        )
    return kept


def _rows(folder: Path, model: str, about: dict[str, Any]) -> tuple[Tensor, list[bytes]]:
    """Return W as it was stored, and its rows' digests."""
    if not (folder / schemas.VECTORS.file_name).exists():
        raise CatalogError(
            f"{model}: was ingested with --no-vectors, so its rows aren't here; ingest it again, with --replace"
        )
    W = torch.empty(about["n_tokens"], about["n_dims"], dtype=TYPES[about["dtype"]])
    digests: list[bytes] = []
    for chunk in read_lists(folder, schemas.VECTORS, "vector"):
        rows = W[len(digests) : len(digests) + len(chunk)]
        rows.copy_(torch.tensor(chunk))
        digests += linkage.row_digests(rows)
    return W, digests


def _masked(column: Any) -> Any:
    """Return a numeric Arrow column as a masked array."""
    missing = column.is_null().to_numpy(zero_copy_only=False)
    return np.ma.MaskedArray(column.fill_null(0).to_numpy(zero_copy_only=False), missing)
