"""The syntax tree of a SELECT, as DuckDB reads it: what SQL that somebody else wrote would do, before it does it."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from token_catalog.catalog.errors import CatalogError

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
    """Give every object in a syntax tree."""
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            yield from nodes(branch)
