"""Changing a catalogued model: a new version that shares the tables which stay as they are, published in one swap."""

import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from token_catalog.catalog import schemas
from token_catalog.catalog.publish import staging
from token_catalog.catalog.state import pinned, read_state, require, state_of
from token_catalog.catalog.tables import read_row, write_table
from token_catalog.ingest.devices import enough_memory
from token_catalog.ingest.report import Report

# (report, model, its row of `models`, its present folder, the new version's) -> what changes in that row
Change = Callable[[Report, str, dict[str, Any], Path, Path], Mapping[str, Any]]


def change(catalog: Path, name: str, work: Change) -> Report:
    """Let `work` write the tables that change, for each model of this key or name, and publish them together.

    On bad input: CatalogError, and the catalog is as it was.
    """
    report = Report()
    catalog = require(catalog)
    with pinned(catalog) as database:  # nobody clears what is read here
        state = state_of(database.parent) or read_state(catalog)
        with staging(catalog) as area:
            for model in state.named(name):
                before = state.models[model]
                old, new = catalog / before.folder, area.version(model, before.name, before)
                about = read_row(old, schemas.MODELS)
                with enough_memory(model):
                    about |= work(report, model, dict(about), old, new)
                about["catalog_version"] = version("token-catalog")
                with report.stage("tables"):
                    columns = {key: [value] for key, value in about.items()}
                    write_table(new, schemas.MODELS, model, provenance(about), columns)
                report.models.append(model)
            with report.stage("publish"):
                area.publish(replace=True)
    return report


def provenance(about: Mapping[str, Any]) -> str:
    """Return a row of `models`, but for the time, as JSON for a file's metadata."""
    return json.dumps({key: value for key, value in about.items() if key != "ingested_at"})
