"""Asks a recipe's conditions, in a process that reaches nothing else.

`python -m token_catalog.catalog.conditions FOLDER`; the folder has `features` and `tokens` as Arrow files, and the
conditions. Before one is asked, its syntax tree is checked: it must be one expression, over these two tables, with
functions that depend on their arguments alone. DuckDB itself has the file system, extensions, settings and Python's
variables shut off; and the process, files and memory.
"""

import json
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from .errors import CatalogError
from .sandbox import nodes, parsed, shut_off
from .schemas import FEATURES, TOKENS

CONDITIONS = "conditions.json"
READY = "ready\n"
CONDITION_TABLES = (FEATURES, TOKENS)
# Address space, of which DuckDB's libraries and buffers take a part; its own limit isn't kept by every function.
MOST_BYTES = 8 << 30

_LIMITS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "4GB",
    "threads": 1,  # some aggregates depend on who comes first
}
_FROM = "from features inner join tokens using (model, token_id)"
# What else than a table, a join or a subquery may stand after FROM: functions that give rows, and DESCRIBE or SHOW.
_OUTSIDE = ("TABLE_FUNCTION", "SHOW_REF")
_READING = ("BASE_TABLE", *_OUTSIDE)
# Functions that DuckDB takes for constant, and aren't: the time, a sample, other SQL.
_CHANGING = {
    "age", "current_catalog", "current_localtime", "current_localtimestamp", "current_role", "current_time",
    "current_timestamp", "current_user", "localtime", "localtimestamp", "reservoir_quantile", "session_user", "user",
    "json_serialize_plan", "json_serialize_sql", "json_deserialize_sql", "json_execute_serialized_sql",
}  # fmt: skip


def main(folder: Path) -> None:
    """Ask the conditions in a folder; write an answer a line, as JSON, as soon as it is there."""
    with ExitStack() as stack:
        files = [stack.enter_context(pa.memory_map(str(folder / table.name))) for table in CONDITION_TABLES]
        connection = stack.enter_context(sandboxed_tables([pa.ipc.open_file(file).read_all() for file in files]))
        conditions = json.loads((folder / CONDITIONS).read_text(encoding="utf-8"))
        refused = _refused(connection)
        for limit, most in ((resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, MOST_BYTES)):
            with suppress(ValueError, OSError):  # macOS has no limit of address space
                resource.setrlimit(limit, (most, most))
        print(READY, end="", flush=True)
        for key, condition in conditions.items():
            print(json.dumps({"key": key, **_answer(connection, condition, refused)}), flush=True)


@contextmanager
def sandboxed_tables(tables: Sequence[pa.Table]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a DuckDB in memory that has copies of `features` and `tokens`, and reaches nothing else."""
    with duckdb.connect(":memory:", config=_LIMITS) as connection:
        for table, rows in zip(CONDITION_TABLES, tables, strict=True):
            connection.register("rows", rows)
            connection.execute(f"create table {table.name} as from rows")
            connection.unregister("rows")
        shut_off(connection)
        yield connection


def _answer(connection: duckdb.DuckDBPyConnection, condition: str, refused: set[str]) -> dict[str, Any]:
    """Return the `ids` of the tokens for which a condition holds, or the `error` that says why it can't be asked."""
    try:
        _check_condition(connection, condition, refused)
        # On a line of its own, for it may end with a comment.
        described = connection.execute(f"select (\n{condition}\n) {_FROM} limit 0").description
        types = [str(column[1]) for column in described]
        if types != ["BOOLEAN"]:
            raise CatalogError(f"gives {', '.join(types)}, and a condition is true or false")
        chosen = connection.execute(f"select token_id {_FROM} where (\n{condition}\n) order by token_id").fetchnumpy()
    except CatalogError as error:
        return {"error": f"{error}: {condition}"}
    except RecursionError:
        return {"error": f"is nested too deeply: {condition}"}
    except (duckdb.OutOfMemoryException, MemoryError):
        return {"error": f"took too much memory, and was stopped: {condition}"}
    except duckdb.Error as error:
        # Without the lines of our own query that it points to.
        return {"error": f"{' '.join(str(error).partition('LINE ')[0].split())}: {condition}"}
    return {"ids": chosen["token_id"].tolist()}


def _check_condition(connection: duckdb.DuckDBPyConnection, condition: str, refused: set[str]) -> None:
    """Raise CatalogError where a condition is more than one expression, or reaches past `features` and `tokens`."""
    plain, asked = (_parsed_condition(connection, text) for text in ("true", condition))
    selected = asked.get("select_list", [])
    alone = len(selected) == 1 and not selected[0]["alias"]
    if {**plain, "select_list": []} != {**asked, "select_list": []} or not alone:
        raise CatalogError("is more than a condition")
    tree = list(nodes(asked))
    own = {table.name for table in CONDITION_TABLES}
    ctes = {entry["key"].lower() for node in tree for entry in node.get("cte_map", {}).get("map", [])}
    views = {name for (name,) in connection.execute("select view_name from duckdb_views()").fetchall()}
    for node in tree:
        _check_node(node, own, ctes - views)
    called = {name for node in tree for name in _called(node)} & refused
    if called:
        raise CatalogError(f"calls {min(called)}, which depends on more than its arguments")


def _check_node(node: Mapping[str, Any], own: set[str], ctes: set[str]) -> None:
    """Raise CatalogError where a node of a condition's syntax tree reads anything but its own tables and CTEs."""
    if node.get("type") == "BASE_TABLE":
        name = str(node["table_name"]).lower()
        qualified = node["catalog_name"] or node["schema_name"] not in ("", "main")
        if qualified or name not in (own if node["schema_name"] else own | ctes):
            raise CatalogError(f"reads '{node['table_name']}', and a condition may read features and tokens only")
    if node.get("type") in _OUTSIDE:
        raise CatalogError("reads what isn't a table, and a condition may read features and tokens only")
    if node.get("sample"):
        raise CatalogError("draws a sample, which isn't the same every time")


def _parsed_condition(connection: duckdb.DuckDBPyConnection, condition: str) -> dict[str, Any]:
    """Return the syntax tree of `select condition`."""
    try:
        return parsed(connection, f"select {condition}")
    except CatalogError as error:
        raise CatalogError(f"is no condition in SQL ({error})") from None


def _called(node: Mapping[str, Any]) -> list[str]:
    """Return the function that a node of a syntax tree calls; some, such as current_date, look like a column."""
    names = [node["function_name"]] if "function_name" in node else node.get("column_names", [])[-1:]
    return [str(name).lower() for name in names]


def _refused(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Return the functions that depend on more than their arguments, or do more than return a value.

    DuckDB says so of its own functions; a macro is refused where its definition calls a refused one, or reads a table.
    """
    query = "select distinct function_name from duckdb_functions() where stability <> 'CONSISTENT'"
    refused = _CHANGING | {name for (name,) in connection.execute(query).fetchall()}
    query = "select function_name, macro_definition from duckdb_functions() where function_type = 'macro'"
    macros = {
        name: list(nodes(_parsed_condition(connection, text))) for name, text in connection.execute(query).fetchall()
    }
    refused |= {name for name, tree in macros.items() if any(node.get("type") in _READING for node in tree)}
    for _ in macros:  # macros that call refused macros, until there are no more
        calling = {name for name, tree in macros.items() if any(refused & set(_called(node)) for node in tree)}
        if calling <= refused:
            break
        refused |= calling
    return refused


if __name__ == "__main__":
    main(Path(sys.argv[1]))
