"""What version folders hold, and the text in which a generation's database says so to the views.

The views find their files in that text when a query is bound, by `SET VARIABLE model` and `series`: what these rule out
is neither opened nor listed, and a publish changes the text alone.
"""

import json
import string
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from . import paths
from .schemas import TABLES
from .tables import reading

# ASCII's own separators: of records, of a record's fields, of the members of a field, and of a folder from its tables.
RECORD, FIELD, MEMBER, PART = "\x1e", "\x1f", "\x1d", "\x1c"
# A letter for each table.
LETTERS = dict(zip((table.name for table in TABLES), string.ascii_letters, strict=False))


@dataclass(frozen=True)
class Contents:
    """The tables of a version folder, and the columns that their files lack, as they are from before there were any."""

    tables: tuple[str, ...]
    lacking: Mapping[str, tuple[str, ...]]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"tables": list(self.tables), "lacking": {table: list(names) for table, names in self.lacking.items()}}

    @staticmethod
    def from_dict(contents: Mapping[str, Any]) -> "Contents":
        """Read it from JSON; KeyError, TypeError or AttributeError where it is none."""
        lacking = {str(table): tuple(map(str, names)) for table, names in contents["lacking"].items()}
        return Contents(tuple(table for table in contents["tables"] if table in LETTERS), lacking)


def read_contents(folder: Path) -> Contents:
    """Return what a version folder holds: as its manifest says, or else, for older ones, the files' footers."""
    told: dict[str, set[str]] = {}
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        columns = json.loads((folder / paths.MANIFEST).read_text(encoding="utf-8"))["columns"]
        told = {file: set(names) for file, names in columns.items()}
    there = [table for table in TABLES if (folder / table.file_name).exists()]
    lacking = {}
    for table in there:
        names = told.get(table.file_name) or set(column_names(folder / table.file_name))
        missing = tuple(column.name for column in table.columns if column.name not in names)
        if missing:
            lacking[table.name] = missing
    return Contents(tuple(table.name for table in there), lacking)


def column_names(file: Path) -> list[str]:
    """Return the columns of a Parquet file, by its footer; CatalogError where that can't be read."""
    with reading(file):
        names: list[str] = pq.read_schema(file).names
        return names


def partly_lacking(contents: Iterable[Contents]) -> dict[str, dict[str, bool]]:
    """Return the columns that files of a table lack: `{table: {column: whether all of them do}}`."""
    contents = list(contents)
    lacking: dict[str, dict[str, bool]] = {}
    for table in TABLES:
        having = [one for one in contents if table.name in one.tables]
        missing = {name for one in having for name in one.lacking.get(table.name, ())}
        if missing:
            lacking[table.name] = {
                name: all(name in one.lacking.get(table.name, ()) for one in having) for name in sorted(missing)
            }
    return lacking


def listing(
    models: Sequence[Mapping[str, Any]],
    folders: Mapping[str, str],
    contents: Mapping[str, Contents],
    models_file: str,
    definitions: str,
) -> str:
    """Return the text of a generation, given its rows of `models`, each model's folder, and what folders hold.

    A record for all, for each series, and for each model and each name of several: the letters of the tables that are
    there; folders, each with its letters; keys; storage types. The folder of the definitions has what no other has, so
    that there is always a file to read; a record for what isn't there has it alone, and stands last.
    """
    scopes: dict[str, list[Mapping[str, Any]]] = {"all": list(models)}
    for row in models:
        if row["series"] is not None:
            scopes.setdefault(f"series:{row['series']}", []).append(row)
        for known in {row["model"], row["name"]}:
            scopes.setdefault(f"model:{known}", []).append(row)
    letters = {folder: "".join(LETTERS[table] for table in held.tables) for folder, held in contents.items()}
    every = "".join(LETTERS.values())
    records = [["models", "", models_file]]
    for scope, rows in scopes.items():
        held = {folders[row["model"]]: letters[folders[row["model"]]] for row in rows}
        there = {letter for own in held.values() for letter in own}
        held[definitions] = "".join(letter for letter in every if letter not in there)
        keys = [] if scope == "all" else [row["model"] for row in rows]
        members = map(PART.join, held.items()), map(_plain, keys), map(_plain, sorted({row["dtype"] for row in rows}))
        records.append([_plain(scope), "".join(sorted(there)), *map(MEMBER.join, members)])
    records.append(["none", "", PART.join((definitions, every)), "", ""])
    return "".join(RECORD + FIELD.join(record) for record in records) + RECORD


def _plain(name: str) -> str:
    """Return a name without separators, which new names don't have: an old one that has can't be narrowed to."""
    return "".join("\ufffd" if character in (RECORD, FIELD, MEMBER, PART) else character for character in name)
