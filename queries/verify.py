"""Comparison of a model's published figures with what its catalog finds, one by one."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from token_catalog.catalog.errors import CatalogError, plain
from token_catalog.catalog.state import read_state, require

from .figures import Figure, read_figures, table_for
from .tolerances import Verdict, format_value, judge
from .untrusted import check_query, sandboxed_catalog

if TYPE_CHECKING:
    import duckdb


# Lists are cut to this in the table; what of them differs stands with the verdict.
_WIDTH = 24
_NAME_WIDTH = 28


class Line(NamedTuple):
    """One figure: what was published, what was found, as text, and the verdict."""

    figure: Figure
    found: str
    verdict: Verdict


def print_comparison(catalog: Path, model: str, table: Path | None = None) -> bool:
    """Print a line for each figure as it is found, and a summary; return whether all pass."""
    lines: list[Line] = []
    for line in verify(catalog, model, table):
        if not lines:
            _print_row("figure", "published", "found", "class", "verdict")
        lines.append(line)
        verdict = "pass" if line.verdict.passes else "FAIL"
        if line.verdict.remark:
            verdict += f" ({plain(line.verdict.remark)})"
        _print_row(line.figure.name, line.figure.published, line.found, line.figure.class_, verdict)
    failing = Counter(line.figure.class_ for line in lines if not line.verdict.passes)
    told = ", ".join(f"{n} {class_}" for class_, n in failing.items())
    told = f", {failing.total()} FAIL ({told})" if failing else ""
    print(f"{len(lines)} figure{'s' if len(lines) > 1 else ''}: {len(lines) - failing.total()} pass{told}")
    return not failing


def _print_row(figure: str, published: str, found: str, class_: str, verdict: str) -> None:
    name = _cell(figure, max(_NAME_WIDTH, len(figure)))  # a long one moves the rest of its line
    cells = (name, _cell(published, _WIDTH), _cell(found, _WIDTH), f"{class_:9}")
    print("".join(cells) + verdict, flush=True)


def _cell(text: str, width: int) -> str:
    """Return a text in one line of this width, and two spaces."""
    text = plain(text)
    return f"{text if len(text) <= width else text[: width - 1] + '…':{width + 2}}"


def verify(catalog: Path, model: str, table: Path | None = None) -> Iterator[Line]:
    """Yield a line for each figure of a table, or of the one that ships for this model; one query each.

    CatalogError, before the first line, where there is no such model or table.
    """
    catalog = require(catalog)
    model = read_state(catalog).one_named(model)
    with sandboxed_catalog(catalog, model) as connection:
        if table is None:
            about = connection.execute("select name, source from models where model = $1", [model]).fetchone()
            if about is None:
                raise CatalogError(f"{catalog}: says nothing of {model}; `rebuild()` mends it")
            table = table_for(*about)
        figures = read_figures(table)
        for figure in figures:
            try:
                check_query(connection, figure.query)
            except CatalogError as error:
                raise CatalogError(f"{figure.place}: {figure.name}: {error}") from None
        for figure in figures:
            yield _line(connection, figure)


def _line(connection: "duckdb.DuckDBPyConnection", figure: Figure) -> Line:
    import duckdb

    try:
        answer = connection.execute(figure.query)
        (_, type_, *_), *others = answer.description or []
        rows = answer.fetchmany(2)
    except duckdb.Error as error:
        return Line(figure, format_value(None, figure.published), Verdict(False, str(error).partition("\n")[0]))
    if others or len(rows) > 1:
        return Line(figure, "…", Verdict(False, "the query gives more than one value"))
    found = rows[0][0] if rows else None
    return Line(
        figure, format_value(found, figure.published), judge(figure.class_, figure.published, found, str(type_))
    )
