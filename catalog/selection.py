"""A recipe's conditions in SQL -> the tokens for which they hold, in a DuckDB of their own that reaches nothing else.

A recipe may come from anybody. So its SQL runs in memory, over copies of `features` and `tokens`, with the file system,
extensions, settings and Python's variables shut off, within limits of memory and time. Before, its syntax tree is read:
one expression, over these two tables, with functions that depend on their arguments alone; the same tokens every time.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Timer
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from catalog.errors import CatalogError
from catalog.schemas import FEATURES, TOKENS

SECONDS = 60.0
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "temp_directory": "",
    "memory_limit": "4GB",
}
_TABLES = (FEATURES, TOKENS)
_FROM = "from features inner join tokens using (model, token_id)"
# What else than a table, a join or a subquery may stand after FROM: functions that give rows, and DESCRIBE or SHOW.
_OUTSIDE = ("TABLE_FUNCTION", "SHOW_REF")


def check_conditions(conditions: Mapping[str, str]) -> None:
    """Raise CatalogError where a condition can't be asked of any model; keys say where each was written."""
    with _closed(*(table.arrow_schema.empty_table() for table in _TABLES)) as connection:
        for key, condition in conditions.items():
            _select(connection, key, condition, SECONDS)


def tokens_where(
    conditions: Mapping[str, str], features: pa.Table, tokens: pa.Table, seconds: float = SECONDS
) -> dict[str, npt.NDArray[np.int32]]:
    """Return the ascending token_ids for which each condition holds; keys say where each was written.

    CatalogError where one isn't a condition over `features` and `tokens`, or takes longer than `seconds`.
    """
    with _closed(features, tokens) as connection:
        return {key: _select(connection, key, condition, seconds) for key, condition in conditions.items()}


@contextmanager
def _closed(features: pa.Table, tokens: pa.Table) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:", config=_CONFIG) as connection:
        for table, rows in zip(_TABLES, (features, tokens), strict=True):
            connection.register("rows", rows)
            connection.execute(f"create table {table.name} as from rows")
            connection.unregister("rows")
        connection.execute("set python_enable_replacements = false; set lock_configuration = true")
        yield connection


def _select(connection: duckdb.DuckDBPyConnection, key: str, condition: str, seconds: float) -> npt.NDArray[np.int32]:
    timer = Timer(seconds, connection.interrupt)
    timer.start()
    try:
        _check(connection, condition)
        # On a line of its own, for it may end with a comment.
        (described,) = connection.execute(f"select (\n{condition}\n) {_FROM} limit 0").description
        if str(described[1]) != "BOOLEAN":
            raise CatalogError(f"gives {described[1]}, and a condition is true or false")
        found = connection.execute(f"select token_id {_FROM} where (\n{condition}\n) order by token_id").fetchnumpy()
    except CatalogError as error:
        raise CatalogError(f"{key}: {error}: {condition}") from None
    except duckdb.InterruptException:
        raise CatalogError(f"{key}: took longer than {seconds:g} s, and was stopped: {condition}") from None
    except duckdb.Error as error:
        raise CatalogError(f"{key}: {' '.join(str(error).split())}") from None
    finally:
        timer.cancel()
    return np.asarray(found["token_id"], np.int32)


def _check(connection: duckdb.DuckDBPyConnection, condition: str) -> None:
    """Raise CatalogError where a condition is more than one expression, or reaches past `features` and `tokens`."""
    plain, asked = (_parsed(connection, text) for text in ("true", condition))
    if {**plain, "select_list": []} != {**asked, "select_list": []} or len(asked["select_list"]) != 1:
        raise CatalogError("is more than one condition")
    nodes = list(_nodes(asked))
    own = {table.name for table in _TABLES} | {
        entry["key"] for node in nodes for entry in node.get("cte_map", {}).get("map", [])
    }
    for node in nodes:
        if node.get("type") == "BASE_TABLE" and str(node["table_name"]).lower() not in own:
            raise CatalogError(f"reads '{node['table_name']}', and a condition may read features and tokens only")
        if node.get("type") in _OUTSIDE:
            raise CatalogError("reads what isn't a table, and a condition may read features and tokens only")
    changing = _changing(connection) & {name for node in nodes for name in _called(node)}
    if changing:
        raise CatalogError(f"calls {min(changing)}, which depends on more than its arguments")


def _parsed(connection: duckdb.DuckDBPyConnection, condition: str) -> dict[str, Any]:
    """Return the syntax tree of `select (condition)`."""
    row = connection.execute("select json_serialize_sql(?)", [f"select (\n{condition}\n)"]).fetchone()
    tree = json.loads(row[0]) if row else {}
    if tree.get("error") or len(tree["statements"]) != 1:
        raise CatalogError(f"is no condition in SQL ({' '.join(str(tree.get('error_message')).split())})")
    node: dict[str, Any] = tree["statements"][0]["node"]
    return node


def _nodes(tree: object) -> Iterator[dict[str, Any]]:
    """Give every object in a syntax tree."""
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            yield from _nodes(branch)


def _called(node: Mapping[str, Any]) -> list[str]:
    """Return the function that a node of a syntax tree calls; some, such as current_date, look like a column."""
    names = [node["function_name"]] if "function_name" in node else node.get("column_names", [])[-1:]
    return [str(name).lower() for name in names]


def _changing(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Return the functions that may give another value for the same arguments, or that do something."""
    query = "select distinct function_name from duckdb_functions() where stability <> 'CONSISTENT'"
    return {name for (name,) in connection.execute(query).fetchall()}
