"""Tables of published figures, in CSV: a line for each number, its class, and the SQL that asks a catalog for it.

Tables that ship are `queries/published/*.csv`, which also say what each figure is and where it was published; beside
them is one query for each figure (`<figure>.sql`). A user's own table may use these figures by their names, and give
others with a column `query`.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.paths import known_names

_PUBLISHED = Path(__file__).parent / "published"
FIGURE_CLASSES = ("exact", "robust", "fragile")
_REQUIRED = ("figure", "published", "class")
_REST = "more"


@dataclass(frozen=True)
class Figure:
    """A published number: how far it can be trusted (its class), the query that finds it, and the line that says so."""

    name: str
    published: str
    class_: str
    query: str
    place: str


def shipped() -> dict[str, Path]:
    """Return the tables that ship, by name."""
    return {path.stem: path for path in sorted(_PUBLISHED.glob("*.csv"))}


def table_for(name: str, source: str) -> Path:
    """Return the table that ships for a model, by its name or its source; CatalogError where there is none."""
    tables = shipped()
    known = known_names(name, source)
    table = next((path for stem, path in tables.items() if stem in known), None)
    if table is None:
        raise CatalogError(
            f"{name}: no published figures of it ship (of {', '.join(tables)} only); `figures=NAME` asks for one of "
            "these, `figures=FILE` for yours"
        )
    return table


def read_figures(path: Path) -> list[Figure]:
    """Read a table, or one that ships by that name; CatalogError names the line that is wrong."""
    if not path.is_file():
        path = shipped().get(str(path), path)
    queries = {query.stem: query.read_text(encoding="utf-8") for query in _PUBLISHED.glob("*.sql")}
    figures: dict[str, Figure] = {}
    for number, row in _csv_rows(path):
        place = f"{path}, line {number}"
        try:
            figure = _figure(row, queries, place)
            if figure.name in figures:
                raise CatalogError(f"{figure.name} stands above already")
        except CatalogError as error:
            raise CatalogError(f"{place}: {error}") from None
        figures[figure.name] = figure
    if not figures:
        raise CatalogError(f"{path}: has no figures in it")
    return list(figures.values())


def _csv_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, restkey=_REST)
            columns = list(reader.fieldnames or [])
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise CatalogError(
            f"{path}: can't be read ({error.strerror}); tables that ship by name: {', '.join(shipped())}"
        ) from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: no CSV in UTF-8: {error}") from None
    missing = [column for column in _REQUIRED if column not in columns]
    if missing:
        raise CatalogError(
            f"{path}: has no column {', '.join(missing)} in its first line ({','.join(columns)}); a table has "
            f"{', '.join(_REQUIRED)}, and query where the figure is none of those that ship, with commas between them"
        )
    return rows


def _figure(row: Mapping[str, str], queries: Mapping[str, str], place: str) -> Figure:
    if row.get(_REST):
        raise CatalogError('has more fields than the first line; what has a comma in it stands in "double quotes"')
    # What was published may be a text, and its spaces part of it.
    name, published = (row["figure"] or "").strip(), row["published"] or ""
    class_ = (row["class"] or "").strip().lower()
    query = (row.get("query") or "").strip() or queries.get(name, "")
    if not name or not published.strip():
        raise CatalogError("has no figure's name, or nothing published of it")
    if class_ not in FIGURE_CLASSES:
        raise CatalogError(f"{name}: class '{class_}' is unknown; one of {', '.join(FIGURE_CLASSES)}")
    if not query:
        like = "".join(f"; did you mean {near}?" for near in get_close_matches(name, queries, 1))
        raise CatalogError(f"{name}: is none of the figures that ship, so it needs SQL in a column query{like}")
    return Figure(name, published, class_, query, place)
