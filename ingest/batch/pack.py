"""Small matrices of a batch, held in memory until each is whole, and written together: one file for each table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from token_catalog.catalog.schemas import TABLES, Table
from token_catalog.catalog.tables import TableWriter, as_rows

from ..new_version import NewVersion

# A row group has whole models, and as many as bring it to so many rows: few enough to be read for one of them.
LEAST_ROWS = 8_192


class HeldTable:
    """A table of a matrix, in memory."""

    def __init__(self, parts: list[pa.Table], table: Table, model: str) -> None:
        """Append to `parts`."""
        self._parts, self._table, self._model = parts, table, model

    def write(self, columns: Mapping[str, Any]) -> None:
        """Append rows, given every column but `model`."""
        self._parts.append(as_rows(self._table, self._model, columns))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


@dataclass
class HeldVersion(NewVersion):
    """A version of a small matrix, whose tables are held in memory."""

    tables: dict[str, list[pa.Table]] = field(default_factory=dict)

    def writer(self, table: Table) -> HeldTable:
        """Return a writer of a table, for rows that come in parts."""
        return HeldTable(self.tables.setdefault(table.name, []), table, self.model)


class Pack:
    """The tables of several matrices in one folder: a file for each table, with row groups of whole matrices."""

    def __init__(self, folder: Path) -> None:
        """Write into a folder, which is there and empty."""
        self._folder = folder
        self._writers: dict[str, TableWriter] = {}
        self._waiting: dict[str, list[pa.Table]] = {}

    def add(self, version: HeldVersion) -> None:
        """Append a matrix."""
        for name, parts in version.tables.items():
            waiting = self._waiting.setdefault(name, [])
            waiting += parts
            if sum(map(len, waiting)) >= LEAST_ROWS:
                self._flush(name)

    def close(self) -> None:
        """Write what is waiting, and end the files."""
        for name in [*self._waiting]:
            self._flush(name)
        for writer in self._writers.values():
            writer.__exit__(None, None, None)

    def abandon(self) -> None:
        """End the files without a name of their own, after an error."""
        for writer in self._writers.values():
            writer.__exit__(RuntimeError, None, None)

    def _flush(self, name: str) -> None:
        parts = self._waiting.pop(name)
        if name not in self._writers:
            table = next(table for table in TABLES if table.name == name)
            self._writers[name] = TableWriter(self._folder, table, "", "{}")
        self._writers[name].write_rows(pa.concat_tables(parts))
