"""Tables of published figures: CSV, a line for each number, its class, and the SQL that asks a catalog for it.

Tables that ship are `queries/published/*.csv`, with one query for each figure beside them (`<figure>.sql`). A user's
own table may use these figures by their names, and give others with a column `query`.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import CatalogError
from catalog.paths import called
from queries.session import is_select

_FOLDER = Path(__file__).parent / "published"
CLASSES = ("exact", "robust", "fragile")
_REQUIRED = ("figure", "published", "class")


@dataclass(frozen=True)
class Figure:
    """A number that was published: what is said of it, how far it can be trusted, and the query that finds it."""

    name: str
    published: str
    class_: str
    query: str


def shipped() -> dict[str, Path]:
    """Return the tables that ship, by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.csv"))}


def table_for(name: str, source: str) -> Path:
    """Return the table that ships for a model, by its name or its source; CatalogError where there is none."""
    tables = shipped()
    known = called(name, source)
    found = next((path for stem, path in tables.items() if stem in known), None)
    if found is None:
        raise CatalogError(
            f"{name}: no published figures of it ship (of {', '.join(tables)} only); --figures FILE brings yours"
        )
    return found


def read_figures(path: Path) -> list[Figure]:
    """Read a table, or one that ships by that name; CatalogError names the line that is wrong."""
    if not path.is_file():
        path = shipped().get(str(path), path)
    queries = {query.stem: query.read_text(encoding="utf-8") for query in _FOLDER.glob("*.sql")}
    figures: dict[str, Figure] = {}
    for number, row in _rows(path):
        try:
            figure = _figure(row, queries)
            if figure.name in figures:
                raise CatalogError(f"{figure.name} stands above already")
        except CatalogError as error:
            raise CatalogError(f"{path}, line {number}: {error}") from None
        figures[figure.name] = figure
    if not figures:
        raise CatalogError(f"{path}: has no figures in it")
    return list(figures.values())


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise CatalogError(
            f"{path}: can't be read ({error.strerror}); tables that ship by name: {', '.join(shipped())}"
        ) from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: no CSV in UTF-8: {error}") from None
    missing = [column for column in _REQUIRED if column not in (reader.fieldnames or [])]
    if missing:
        raise CatalogError(
            f"{path}: has no column {', '.join(missing)}; a table has {', '.join(_REQUIRED)}, and query where the "
            "figure is none of those that ship"
        )
    return rows


def _figure(row: Mapping[str, str], queries: Mapping[str, str]) -> Figure:
    name, published, class_ = ((row[column] or "").strip() for column in _REQUIRED)
    query = (row.get("query") or "").strip() or queries.get(name, "")
    if not name or not published:
        raise CatalogError("has no figure's name, or nothing published of it")
    if class_ not in CLASSES:
        raise CatalogError(f"{name}: class '{class_}' is unknown; one of {', '.join(CLASSES)}")
    if not query:
        raise CatalogError(f"{name}: is none of the figures that ship, so it needs SQL in a column query")
    if not is_select(query):
        raise CatalogError(f"{name}: its query isn't one SELECT, which is all that verify runs")
    return Figure(name, published, class_, query)
