"""Tables of figures of one's own, and what `verify` makes of them."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from token_catalog.queries.verify import Line, verify

SHIPPED = "qwen3-4b-instruct-2507"
COLUMNS = ("figure", "published", "class", "query")


def write_own(path: Path, figures: Iterable[Sequence[str]]) -> Path:
    """Write a table of one's own: figure, published, class, and query where there is one."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(figures)
    return path


def outcome(catalog: Path, model: str, path: Path, queries: Sequence[str], published: str = "1") -> list[Line]:
    """Return what becomes of queries, each a figure of one table."""
    figures = [(f"figure_{n}", published, "exact", query) for n, query in enumerate(queries)]
    return list(verify(catalog, model, write_own(path, figures)))
