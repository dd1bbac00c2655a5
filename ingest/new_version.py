"""A version that is being written: its tables, each with what `models` says of it in its metadata."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from token_catalog.catalog import schemas
from token_catalog.catalog.tables import TableWriter

from .report import Report


class RowWriter(AbstractContextManager["RowWriter"], Protocol):
    """What a table's rows are written with, in parts."""

    def write(self, columns: Mapping[str, Any]) -> None:
        """Append rows, given every column but `model`."""


@dataclass
class NewVersion:
    """A matrix, the folder that its tables go into, its row of `models` but for the key, and the command's report."""

    model: str
    folder: Path
    about: dict[str, Any]
    report: Report

    def __post_init__(self) -> None:
        """Say which version of the product writes it."""
        self.about["catalog_version"] = version("token-catalog")

    def note(self, text: str) -> None:
        """Note what a user would want to know."""
        self.report.note(self.model, text)

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Add the time spent inside to a stage."""
        return self.report.stage(name)

    def writer(self, table: schemas.Table) -> RowWriter:
        """Return a writer of a table, for rows that come in parts."""
        provenance = {key: value for key, value in self.about.items() if key != "ingested_at"}
        return TableWriter(self.folder, table, self.model, json.dumps(provenance))

    def write(self, table: schemas.Table, columns: Mapping[str, Any]) -> None:
        """Write a whole table."""
        with self.writer(table) as writer:
            writer.write(columns)

    def write_models(self) -> None:
        """Write the row of `models`, which ends the version."""
        self.write(schemas.MODELS, {key: [value] for key, value in self.about.items()})
