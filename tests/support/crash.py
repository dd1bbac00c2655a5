"""Kills a change to a catalog before its n-th step on the file system, for every n, and looks at what is left.

`python -m tests.support.crash FOLDER SCENARIO`: in a process of its own, which forks a child for each n, never starts a
thread itself, and has no torch, so that a fork is cheap. An audit hook sees what Python does to the file system; what
Arrow and DuckDB write falls in between.
"""

import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from itertools import count
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from token_catalog.catalog import definitions, paths
from token_catalog.catalog import publish as publishing
from token_catalog.catalog.publish import rebuild, remove, staging
from token_catalog.catalog.schemas import FEATURES, MODELS, TOKENS, VECTORS, Table
from token_catalog.catalog.state import read_state, state_of
from token_catalog.catalog.tables import as_rows, write_table

Contents = Mapping[str, int]  # rows of each model
READ = (TOKENS, FEATURES, VECTORS)
_STEPS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def publish(catalog: Path, models: Contents, replace: bool = False) -> None:
    """Publish matrices that have rows, and nothing in most columns; `a/input` and `a/output` are of the model `a`."""
    with staging(catalog) as area:
        for model, n_rows in models.items():
            name = model.split("/")[0]
            write_tables(area.version(model, name), (MODELS, *READ), model, name, n_rows)
        area.publish(replace=replace)


def change_features(catalog: Path, models: Contents) -> None:
    """Publish versions that have `features` of their own and share the rest, as `relink` does."""
    state = read_state(catalog)
    with staging(catalog) as area:
        for model, n_rows in models.items():
            old = state.models[model]
            write_tables(area.version(model, old.name, old), (FEATURES,), model, old.name, n_rows)
        area.publish(replace=True)


def publish_pack(catalog: Path, models: Contents, series: str | None = None, replace: bool = False) -> None:
    """Publish matrices of a series that share their files, a row group of each; their steps are their last digits."""
    with staging(catalog) as area:
        folder = area.pack(series or "pack")
        for table in (MODELS, *READ):
            with pq.ParquetWriter(folder / table.file_name, table.arrow_schema) as writer:
                for model, n_rows in models.items():
                    name = model.split("/")[0]
                    member = {"series": [series], "step": [int(re.search(r"\d*$", name)[0] or 0)]} if series else {}
                    writer.write_table(as_rows(table, model, _columns(table, name, n_rows, **member)))
                    area.add(model, name, folder)
        area.publish(replace=replace)


def write_tables(folder: Path, tables: Iterable[Table], model: str, name: str, n_rows: int) -> None:
    """Write tables of a matrix."""
    for table in tables:
        empty = {column.name: pa.nulls(1 if table is MODELS else n_rows, column.type) for column in table.columns}
        write_table(folder, table, model, "{}", {**empty, **_columns(table, name, n_rows)})


def _columns(table: Table, name: str, n_rows: int, **member: list[Any]) -> dict[str, Any]:
    if table is MODELS:
        return {"name": [name], "dtype": ["bf16"], "n_tokens": [n_rows], "n_dims": [1], **member}
    return {"token_id": np.arange(n_rows)}


def contents(catalog: Path) -> Contents:
    """Return the rows of each model, having opened what users open and read every table and view of it."""
    with duckdb.connect(str(catalog / paths.DATABASE), read_only=True) as connection:
        told: dict[str, int] = dict(connection.execute("select model, n_tokens from models").fetchall())
        for table in READ:
            query = f"select model, count(*), bit_xor(hash(row)) from {table.name} as row group by model"
            assert {model: n for model, n, _ in connection.execute(query).fetchall()} == told
        for (view,) in connection.execute("select view_name from duckdb_views() where not internal").fetchall():
            connection.execute(f"select count(*) from {view}").fetchall()
    return told


def leftovers(catalog: Path) -> list[Path]:
    """Return what lies in a catalog that no publish wants there."""
    wanted = read_state(catalog).folders()
    ours = {paths.DATABASE, paths.OPEN_SQL, paths.GENERATIONS, paths.MODELS_FOLDER, paths.STAGING, paths.LOCK}
    ours.add(paths.DEFINITIONS)
    generations = sorted((catalog / paths.GENERATIONS).iterdir())
    defined = {state.definitions for generation in generations if (state := state_of(generation))}
    own = (paths.DATABASE, paths.STATE, MODELS.file_name)
    return [
        *(path for path in catalog.iterdir() if path.name not in ours),
        *(catalog / paths.STAGING).iterdir(),
        *(path for path in catalog.glob("models/*") if not any(path.iterdir())),
        *(path for path in catalog.glob("models/*/*") if path.relative_to(catalog).as_posix() not in wanted),
        *generations[:-2],
        *(p for g in generations for p in g.iterdir() if p.name not in own),
        *(path for path in (catalog / paths.DEFINITIONS).glob("*") if path.name not in defined),
    ]


def assert_no_torn_table(catalog: Path) -> None:
    """Check that what is called .parquet is whole, wherever it lies."""
    for path in catalog.rglob("*.parquet"):
        pq.read_metadata(path)


Change = Callable[[Path], object]
KEPT = {"keep": 2}
OLD = {"p/input": 3, "p/output": 3}
NEW = {"p/input": 4, "p/output": 4}


def _old(catalog: Path) -> None:
    publish(catalog, KEPT)
    publish(catalog, OLD)
    publish(catalog, OLD, replace=True)  # so that the next has something to clear


def _packed(catalog: Path) -> None:
    """Leave models that share their files."""
    publish_pack(catalog, KEPT | OLD)


def _lost(catalog: Path) -> None:
    """Leave the models' files, and no database over them."""
    _old(catalog)
    (catalog / paths.DATABASE).unlink()


def _damaged(catalog: Path) -> None:
    """Leave a database whose state can't be read."""
    _old(catalog)
    (catalog / paths.DATABASE).resolve().with_name(paths.STATE).write_text("{")


def _moved_in(catalog: Path) -> None:
    """Leave what a process moved in that died before it swapped, and no database."""
    _lost(catalog)

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    publishing._swap = die  # type: ignore[assignment]
    assert _in_child(publish, catalog, NEW | {"new": 2}, True) == -signal.SIGKILL


# What was there, what is done to it, and what the catalog may tell then.
SCENARIOS: dict[str, tuple[Change | None, Change, Contents, Contents]] = {
    "first": (None, lambda catalog: publish(catalog, NEW), {}, NEW),
    "replace": (_old, lambda catalog: publish(catalog, NEW, replace=True), KEPT | OLD, KEPT | NEW),
    "share": (_old, lambda catalog: change_features(catalog, OLD), KEPT | OLD, KEPT | OLD),
    "remove": (_old, lambda catalog: remove(catalog, "p"), KEPT | OLD, KEPT),
    "replace-in-pack": (_packed, lambda catalog: publish(catalog, NEW, replace=True), KEPT | OLD, KEPT | NEW),
    "replace-lost": (_lost, lambda catalog: publish(catalog, NEW, replace=True), KEPT | OLD, KEPT | NEW),
    "rebuild-moved-in": (_moved_in, rebuild, KEPT | OLD, KEPT | OLD),
    "remove-damaged": (_damaged, lambda catalog: remove(catalog, "p"), KEPT | OLD, KEPT),
}


# Beginnings that are rare: killed at every fourth step, as each costs as much as a common one's.
RARE = ("replace-in-pack", "replace-lost", "rebuild-moved-in", "remove-damaged")


def _killed(catalog: Path, change: Change, step: int) -> None:
    """Do something, unless there is such a step in it: then die before it."""
    steps = count(1)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING
        if (event in _STEPS or writes) and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    change(catalog)


def _what_lies(catalog: Path) -> str:
    """Return what there is, but for what no two runs have in common; of an entry in staging only whether it's empty."""
    staged = (f"{path.name} {path.is_dir() and any(path.iterdir())}" for path in catalog.glob(f"{paths.STAGING}/*"))
    lying = (path.relative_to(catalog).as_posix() for path in catalog.rglob("*") if paths.STAGING not in path.parts)
    links = (str(path.readlink()) for path in catalog.glob(paths.DATABASE))
    return re.sub(
        "[0-9TZ]{21,}-[0-9a-f]{8}|[0-9a-f]{32}|[0-9a-f]{16}-[0-9a-f]{8}",
        "…",
        "\n".join((*sorted(staged), *sorted(lying), *links)),
    )


def _check(catalog: Path, old: Contents, new: Contents, had_database: bool, rebuilding: bool) -> None:
    """Check that a catalog is whole after a kill, goes on as if nothing had been, and clears what was left."""
    published = (catalog / paths.DATABASE).exists()
    assert published or not had_database
    found = contents(catalog) if published else old
    assert found in (old, new), found
    if rebuilding and (catalog / paths.MODELS_FOLDER).exists():
        rebuild(catalog)
        assert contents(catalog) == found
        assert leftovers(catalog) == []
    # Without --replace: what isn't shown isn't in the way.
    later = {"later": 2} if found.keys() & NEW.keys() else NEW
    publish(catalog, later)
    assert contents(catalog) == {**found, **later}
    assert leftovers(catalog) == []


def _in_child(work: Callable[..., object], *arguments: object) -> int:
    """Run something in a fork of this process; return how it ended: 0, 1 for an error, or -9."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work(*arguments)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_everywhere(folder: Path, scenario: str) -> tuple[int, int]:
    """Kill a change before every step that it takes; return how many there were, and how many states were left."""
    before, change, old, new = SCENARIOS[scenario]
    template = folder / "template"
    if before and _in_child(before, template):
        sys.exit("can't even begin")
    had_database = (template / paths.DATABASE).exists()
    seen = set()
    for step in count(1, 4 if scenario in RARE else 1):
        catalog = folder / str(step)
        if before:
            copytree(template, catalog, symlinks=True)
        ended = _in_child(_killed, catalog, change, step)
        assert_no_torn_table(catalog)
        if (lies := _what_lies(catalog)) not in seen:
            seen.add(lies)
            if _in_child(_check, catalog, old, new, had_database, len(seen) % 2 == 0):
                sys.exit(f"{scenario}, killed before step {step}: see {catalog}")
        rmtree(catalog, ignore_errors=True)
        if ended != -signal.SIGKILL:
            return step - 1, len(seen)
    raise AssertionError


def publish_at_once(catalog: Path) -> None:
    """Publish from ten processes at once: five models, and one model five times."""
    children = []
    for number in range(5):
        for models in ({f"m{number}": 2}, {"same": number + 1}):
            children.append(os.fork())
            if not children[-1]:
                os._exit(_in_child(lambda models=models: publish(catalog, models, replace=True)))
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)
    assert contents(catalog).keys() == {"same", *(f"m{number}" for number in range(5))}
    publish(catalog, {"later": 2})
    assert leftovers(catalog) == []


def _spare_the_children() -> None:
    """Leave out of every child what takes time and is no step of a change."""
    definitions.definitions = list  # the SQL of queries/ takes most of a build's time
    definitions.database(definitions.statements({}))  # and the rest is made here, for all
    os.fsync = lambda descriptor: None  # a killed process loses nothing that the kernel has
    for module in ("numpy.ma", "pandas", "pyarrow.compute"):  # each child would import what Arrow and DuckDB ask for
        import_module(module)


if __name__ == "__main__":
    _spare_the_children()
    if sys.argv[2] == "at-once":
        publish_at_once(Path(sys.argv[1]) / "catalog")
    else:
        print(*kill_everywhere(Path(sys.argv[1]), sys.argv[2]))
