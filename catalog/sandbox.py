"""A sandbox for SQL that somebody else wrote: its syntax tree, to check before it runs, and DuckDB's own limits."""

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .errors import CatalogError
from .quoting import quoted

if TYPE_CHECKING:
    import duckdb


def parsed(connection: "duckdb.DuckDBPyConnection", query: str) -> dict[str, Any]:
    """Return the syntax tree of one SELECT; CatalogError, in DuckDB's words, where it is something else."""
    row = connection.execute("select json_serialize_sql(?)", [query]).fetchone()
    tree = json.loads(row[0]) if row else {}
    if tree.get("error"):
        raise CatalogError(" ".join(str(tree.get("error_message")).split()))
    if len(tree["statements"]) != 1:
        raise CatalogError(f"{len(tree['statements'])} statements, not one")
    node: dict[str, Any] = tree["statements"][0]["node"]
    return node


def nodes(tree: object) -> Iterator[dict[str, Any]]:
    """Yield every object in a syntax tree."""
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            yield from nodes(branch)


def shut_off(connection: "duckdb.DuckDBPyConnection", allowed: Iterable[str] = ()) -> None:
    """Shut off for good: files outside `allowed` folders, extensions, settings, spilling, and Python's variables.

    What is attached already can still be read.
    """
    connection.execute(f"""
        set allowed_directories = [{", ".join(map(quoted, allowed))}];
        set temp_directory = '';
        set enable_external_access = false;
        set autoload_known_extensions = false;
        set autoinstall_known_extensions = false;
        set python_enable_replacements = false;
        set lock_configuration = true;
    """)
