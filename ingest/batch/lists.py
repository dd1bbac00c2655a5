"""Lists of what to ingest: CSV, TOML or JSON lines, an entry each, read into rows of known keys."""

import csv
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from token_catalog.catalog.errors import CatalogError

from ..source.stack import MOST_STEP

KEYS = (
    "source", "name", "recipe", "series", "step", "role", "tensor", "matrix", "stored_as", "stack_index", "revision",
    "tokenizer",
)  # fmt: skip
# What the command line calls a key otherwise.
ALIASES = {"as": "stored_as"}
_WHOLE_NUMBERS = ("step", "stack_index")
# Far more digits than the largest step has; int() would take seconds over millions.
_WHOLE_NUMBER = re.compile(r"[0-9]{1,19}")

# Where an entry stands, and what it says.
Row = tuple[str, Mapping[str, Any]]


def read_list(path: Path) -> list[Row]:
    """Return a list's entries with where each stands ("runs/list.csv:3"); CatalogError names the line that is wrong.

    Keys are of KEYS, `source` among them; texts aren't empty, `step` and `stack_index` are whole numbers, and a recipe
    in TOML or JSON may be a table. What is empty, or null, is left out.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise CatalogError(f"{path}: a list is one of {', '.join(_READERS)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: can't be read ({error})") from None
    rows: list[Row] = [(where, _checked(where, said)) for where, said in read(path, text)]
    if not rows:
        raise CatalogError(f"{path}: has no entries; each has a source, and may have {', '.join(KEYS[1:])}")
    return rows


def as_whole_number(value: object, where: str, key: str) -> int:
    """Return a whole number from 0 that a step can be, given as one or as its digits."""
    number = int(value) if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value) else value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= MOST_STEP:
        raise CatalogError(f"{where}: {key} {value!r} is no whole number from 0")
    return number


def _checked(where: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an entry says under its keys' own names; CatalogError where one is unknown or of another type."""
    row: dict[str, Any] = {}
    for written, value in said.items():
        key = ALIASES.get(written, written)
        if key not in KEYS:
            raise CatalogError(f"{where}: unknown key '{written}'; known are {', '.join((*KEYS, *ALIASES))}")
        if value is None or value == "":
            continue
        if key in row:
            raise CatalogError(f"{where}: {key} is there twice")
        if key in _WHOLE_NUMBERS:
            value = as_whole_number(value, where, key)
        elif not isinstance(value, str) and not (key == "recipe" and isinstance(value, Mapping)):
            raise CatalogError(f"{where}: {key} {value!r} is no text; put it in quotes")
        row[key] = value
    if "source" not in row:
        raise CatalogError(f"{where}: has no source")
    return row


def _csv(path: Path, text: str) -> Iterator[Row]:
    """Yield the rows under a header; cells are stripped, and rows without any passed over."""
    reader = csv.reader(text.splitlines(keepends=True), strict=True, skipinitialspace=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(f"{path}:1", header)
        for cells in reader:
            where = f"{path}:{reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise CatalogError(f"{where}: has {len(cells)} cells, and the header has {len(header)}")
            yield where, dict(zip(header, (cell.strip() for cell in cells), strict=True))
    except csv.Error as error:
        raise CatalogError(f"{path}:{reader.line_num}: not CSV: {error}") from None


def _check_header(where: str, header: list[str]) -> None:
    _checked(where, dict.fromkeys(header, None) | {"source": where})  # an unknown key is told once, of the header
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise CatalogError(f"{where}: '{min(twice)}' is there twice")
    if header and "source" not in header:
        raise CatalogError(f"{where}: has no column 'source'; a list in CSV begins with the names of its columns")


def _toml(path: Path, text: str) -> Iterator[Row]:
    """Yield the tables [[entry]], each with the line it begins in."""
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise CatalogError(f"{path}: not TOML: {error}") from None
    for key in table:
        if key != "entry":
            raise CatalogError(f"{path}: unknown key '{key}'; a list has tables [[entry]], and nothing else")
    entries = table.get("entry", [])
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise CatalogError(f"{path}: entry: is no array of tables; write [[entry]] above each")
    begins = [n for n, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*entry\s*\]\]", line)]
    if len(begins) != len(entries):  # written in another way: tomllib doesn't tell lines
        return ((f"{path}: entry {n}", entry) for n, entry in enumerate(entries, 1))
    return ((f"{path}:{n}", entry) for n, entry in zip(begins, entries, strict=True))


def _json_lines(path: Path, text: str) -> Iterator[Row]:
    for n, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CatalogError(f"{path}:{n}: not JSON: {error}") from None
        if not isinstance(said, Mapping):
            raise CatalogError(f'{path}:{n}: is no JSON object; write {{"source": "…"}}, one a line')
        yield f"{path}:{n}", said


_READERS: Mapping[str, Callable[[Path, str], Iterator[Row]]] = {
    ".csv": _csv,
    ".toml": _toml,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
}
