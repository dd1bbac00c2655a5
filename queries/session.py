"""Sessions on a catalog: a connection, a query or the DuckDB shell, each on a private copy of its database.

DuckDB locks a database that it opens; on copies, nobody waits for anybody. A copy has a few hundred KB, and no data.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from token_catalog.catalog import paths
from token_catalog.catalog.errors import CatalogError, listed
from token_catalog.catalog.quoting import quoted
from token_catalog.catalog.state import pinned, read_state, require

if TYPE_CHECKING:
    import duckdb

FORMATS = ("table", "csv", "json", "parquet")
_COPY_OPTIONS = {
    "csv": "format csv, header",
    "json": "format json, array",
    "parquet": "format parquet, compression zstd",
}
_SHELL = "duckdb"


def run_query(
    catalog: Path,
    query: str,
    *,
    format_: str = "table",
    output: Path | None = None,
    model: str | None = None,
    series: str | None = None,
) -> None:
    """Run SQL on a catalog, and write the last statement's rows to stdout, or to a file in one of FORMATS.

    CatalogError where DuckDB refuses it, or the format doesn't fit the place.
    """
    if format_ not in FORMATS:
        raise CatalogError(f"`format_={format_}`: unknown; one of {', '.join(FORMATS)}")
    if format_ == "parquet" and output is None and sys.stdout.isatty():
        raise CatalogError("`format_=parquet` is not for a terminal; `output=FILE` says where it goes")
    with asked(catalog, model, series) as connection:
        statements = connection.extract_statements(query)
        if not statements:
            raise CatalogError("no query; try `sql('from help')`")
        for statement in statements[:-1]:
            connection.execute(statement).fetchall()  # a result left open blocks the next one
        _write_answer(connection, _bare(statements[-1].query), format_, output)


def open_shell(catalog: Path, model: str | None = None, series: str | None = None) -> int:
    """Open the DuckDB shell on a catalog, narrowed to a model, a series or neither; return its exit code."""
    executable = find_shell()
    # Ctrl-C is the shell's, to stop a query: it ends neither the shell nor what waits for it here.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, frame: None)
    catalog = _checked(catalog, model, series)
    with pinned(catalog) as database, _private_copy(database) as copy:
        script = copy.with_name("init.sql")
        script.write_text(_attaching(copy, catalog, model, series), encoding="utf-8")
        return subprocess.call([executable, "-init", str(script)])


def find_shell() -> str:
    """Return the path of the DuckDB shell, beside this Python or else on PATH; CatalogError where there is none."""
    beside = Path(sys.executable).with_name(_SHELL)
    shell = str(beside) if beside.is_file() else shutil.which(_SHELL)
    if not shell:
        raise CatalogError("the DuckDB shell isn't installed; `pip install duckdb-cli` brings it")
    return shell


def connect(catalog: Path, model: str | None = None, series: str | None = None) -> "duckdb.DuckDBPyConnection":
    """Return a DuckDB connection to a private copy of a catalog, narrowed to a model, a series or neither.

    The files that it reads stay on the disk until it is closed or dropped. A `cursor()` of it is a connection of
    DuckDB's own making: it is not narrowed, and keeps nothing on the disk.
    """
    catalog = _checked(catalog, model, series)
    with ExitStack() as stack:
        connection = _open_copy(stack.enter_context(pinned(catalog)), catalog, model, series)
        _hold(connection, stack.pop_all())
        return connection


@contextmanager
def connected(
    catalog: Path, model: str | None = None, series: str | None = None
) -> "Iterator[duckdb.DuckDBPyConnection]":
    """Yield a connection as `connect` returns it, for the block only, and so without NumPy, which is slow to import."""
    catalog = _checked(catalog, model, series)
    with pinned(catalog) as database, _open_copy(database, catalog, model, series) as connection:
        yield connection


@contextmanager
def asked(catalog: Path, model: str | None = None, series: str | None = None) -> "Iterator[duckdb.DuckDBPyConnection]":
    """Yield a connection as `connected` does; what DuckDB refuses in the block is a CatalogError."""
    import duckdb

    try:
        with connected(catalog, model, series) as connection:
            yield connection
    except duckdb.Error as error:
        raise CatalogError(str(error)) from None


def _checked(catalog: Path, model: str | None, series: str | None) -> Path:
    """Return a catalog's absolute path; CatalogError where there is none, or no such model or series in it."""
    catalog = require(catalog)
    if model is not None:
        read_state(catalog).named(model)
    if series is not None:
        from token_catalog.catalog.publish import catalogued  # pyarrow, which takes a while

        there = sorted({name for name in catalogued(catalog)["series"].to_pylist() if name is not None})
        if series not in there:
            raise CatalogError(f"'{series}': no such series; the catalog has: {listed(there) if there else 'none'}")
    return catalog


def _open_copy(database: Path, catalog: Path, model: str | None, series: str | None) -> "duckdb.DuckDBPyConnection":
    """Return a connection to a copy of a catalog's database; the copy's file is deleted once DuckDB has it open."""
    import duckdb

    connection = duckdb.connect(":memory:")
    try:
        with _private_copy(database) as copy:
            connection.execute(_attaching(copy, catalog, model, series))
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _private_copy(database: Path) -> Iterator[Path]:
    """Yield the path of a copy of a database, in a folder of its own that is deleted in the end."""
    with tempfile.TemporaryDirectory(prefix="token-catalog-", ignore_cleanup_errors=True) as folder:
        yield Path(shutil.copyfile(database, Path(folder, paths.DATABASE)))


def _attaching(copy: Path, catalog: Path, model: str | None, series: str | None) -> str:
    """Return the script that attaches a copy of a catalog's database and narrows it to a model, a series or neither."""
    # Read-only, so that nobody loses what they'd create in a copy; a database of one's own can be attached.
    lines = [
        f"attach {quoted(str(copy))} as catalog (read_only);",
        "use catalog;",
        f"set variable catalog_root = {quoted(str(catalog))};",
    ]
    if model is not None:
        lines.append(f"set variable model = {quoted(model)};")
    if series is not None:
        lines.append(f"set variable series = {quoted(series)};")
    return "\n".join(lines) + "\n"


def _hold(connection: "duckdb.DuckDBPyConnection", held: ExitStack) -> None:
    """Close what is `held` when a connection is closed or dropped, for then DuckDB drops its functions in Python."""

    def is_held() -> bool:
        return held is not None

    weakref.finalize(is_held, held.close)
    connection.create_function("_is_held", is_held, [], "BOOLEAN")
    # At exit, DuckDB 2 complains of connections that are open and have such functions.
    weakref.finalize(connection, _close_if_alive, weakref.ref(connection))


def _close_if_alive(reference: "weakref.ref[duckdb.DuckDBPyConnection]") -> None:
    connection = reference()
    if connection is not None:
        connection.close()


def _bare(statement: str) -> str:
    """Return a statement without its semicolon and what follows, so that it can stand in parentheses, in a COPY.

    A relation doesn't do without: in DuckDB 2, it puts a statement's text in parentheses as it is.
    """
    import duckdb

    ends = [
        at for at, kind in duckdb.tokenize(statement) if kind == duckdb.token_type.operator and statement[at] == ";"
    ]
    return (statement[: ends[-1]] if ends else statement) + "\n"


def _write_answer(connection: "duckdb.DuckDBPyConnection", query: str, format_: str, output: Path | None) -> None:
    rows = connection.sql(query)
    if rows is None:  # a statement without rows: set variable, attach, copy …
        return
    if format_ == "table" and output is None:
        rows.show(max_width=shutil.get_terminal_size((120, 24)).columns)
        return
    if format_ == "table":
        raise CatalogError("`output=` goes with `format_=csv`, json or parquet")
    if output is not None:
        copy_rows(connection, query, format_, Path(os.path.abspath(output)))
        return
    # DuckDB would truncate a file that stdout was redirected to, so it writes one of its own.
    with tempfile.TemporaryDirectory(prefix="token-catalog-") as folder:
        answer = Path(folder, "answer")
        copy_rows(connection, query, format_, answer)
        with answer.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)


def copy_rows(connection: "duckdb.DuckDBPyConnection", query: str, format_: str, path: Path) -> None:
    """Write the rows of a query (no semicolon) to a file in one of FORMATS but table."""
    import duckdb

    into = f"to {quoted(str(path))} ({_COPY_OPTIONS[format_]})"
    try:
        connection.execute(f"copy (from (\n{query}\n)) {into}")
    except duckdb.ParserException:  # explain, pragma and call can't stand there
        connection.sql(query).query("answer", f"copy (from answer) {into}")
