"""Untrusted SQL, as tables of figures bring it, run so that it reads a catalog and does nothing else.

Its syntax tree is checked first: it must be one SELECT all the way down (in DuckDB 2, a COPY or an INSERT may stand in
a WITH), and its rows may come from the catalog's tables, views and macros, and from functions that make them up. DuckDB
itself reaches no files but the catalog's own (`catalog.sandbox`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from token_catalog.catalog import paths
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.sandbox import nodes, parsed, shut_off
from token_catalog.catalog.state import read_state, require

from .session import connected

if TYPE_CHECKING:
    import duckdb

_SELECTS = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_MADE_UP = {"generate_series", "range", "unnest"}


@contextmanager
def sandboxed_catalog(catalog: Path, model: str) -> "Iterator[duckdb.DuckDBPyConnection]":
    """Yield a connection, narrowed to a model, in which a query that `check_query` lets pass reads the catalog only."""
    catalog = require(catalog)
    folders = [catalog / folder for folder in {version.folder for version in read_state(catalog).models.values()}]
    # A generation has its rows of `models`, and what no model has is read from the definitions'.
    folders += [catalog / name for name in (paths.GENERATIONS, paths.DEFINITIONS)]
    # By their names and by where these lead: a folder may be a link to another disk.
    allowed = {str(path) for folder in folders for path in (folder, folder.resolve())}
    with connected(catalog, model) as connection:
        shut_off(connection, sorted(allowed))
        yield connection


def check_query(connection: "duckdb.DuckDBPyConnection", query: str) -> None:
    """Raise CatalogError where a query is more than one SELECT, or takes rows from elsewhere than the catalog."""
    try:
        tree = list(nodes(parsed(connection, query)))
    except CatalogError as error:
        raise CatalogError(f"its query isn't one SELECT ({error})") from None
    except RecursionError:
        raise CatalogError("its query is nested too deeply") from None
    for node in tree:
        kind = str(node.get("type"))
        if kind.endswith("_NODE") and kind not in _SELECTS:
            raise CatalogError("its query does more than select")
        if kind == "SHOW_REF":
            raise CatalogError("its query describes, where it should select")
    called = {str(node["function"]["function_name"]).lower() for node in tree if node.get("type") == "TABLE_FUNCTION"}
    if called <= _MADE_UP:  # most; DuckDB takes a while to list its functions
        return
    own = "select distinct function_name from duckdb_functions() where function_type = 'table_macro' and not internal"
    if others := called - _MADE_UP - {name for (name,) in connection.execute(own).fetchall()}:
        raise CatalogError(
            f"its query takes rows from {min(others)}(), which is no macro of the catalog; `rebuild()` brings this "
            "version's to a catalog that an older one wrote"
        )
