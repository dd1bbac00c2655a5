"""The walls between the folders: which may import which, that there is no circle, and what importing loads."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.imports import PRODUCT, ROOT, imports, in_room, sources, within

FRONT = ("__init__", "__main__", "api", "cli", "exits", "flags")
STORIES = (
    "ingest.run",
    "ingest.relink",
    "ingest.add_references",
    "ingest.demo",
    "ingest.stored_model",
    "ingest.dependents",
    "ingest.spectrum",
    "ingest.align",
)
ROOMS = (
    "ingest.features",
    "ingest.dimensions",
    "ingest.lattice",
    "ingest.linkage",
    "ingest.references",
    "ingest.frames",
    "ingest.spectra",
    "ingest.alignment",
)
# What the modules of a folder never import, of the product.
NEVER = {
    "catalog": ("ingest", "queries", *FRONT),
    "queries": ("ingest", *FRONT),
    "ingest": ("queries", *FRONT),
    **{room: (*(other for other in ROOMS if other != room), "ingest.batch", *STORIES) for room in ROOMS},
    **{
        room: (*(other for other in ROOMS if other != room), "ingest.source", "ingest.batch", *STORIES)
        for room in (
            "ingest.alignment",
            "ingest.dimensions",
            "ingest.lattice",
            "ingest.linkage",
            "ingest.frames",
            "ingest.spectra",
        )
    },
    "ingest.recipe": ("ingest.arithmetic", "ingest.source", "ingest.batch", *ROOMS, *STORIES),
    "ingest.source": ("ingest.arithmetic", "ingest.recipe", "ingest.batch", *ROOMS, *STORIES),
    "ingest.arithmetic": ("ingest.recipe", "ingest.source", "ingest.batch", *ROOMS, *STORIES),
}
# Who alone may import what others wrote: files are opened in one place, and nothing is unpickled.
ONLY = {
    "duckdb": ("catalog", "queries", "api"),  # there, in annotations
    "h5py": ("ingest.source.hdf5",),
    "huggingface_hub": ("ingest.source",),
    "safetensors": ("ingest.source.matrix",),
    "torch": ("ingest",),
    "transformers": ("ingest.source.vocabulary",),
    "typer": ("cli", "exits", "flags", "reports"),
    "pickle": (),
}
STARTS = (
    "import runpy\nsys.argv = {}\n"
    "try:\n    runpy.run_module('token_catalog', run_name='__main__')\nexcept SystemExit:\n    pass"
)


@pytest.mark.parametrize("room", NEVER)
def test_imports_go_one_way(room: str) -> None:
    members = [name for name in imports() if in_room(name, room)]
    assert members
    assert {
        (name, other)
        for name in members
        for other in imports()[name]
        if any(in_room(other, never) for never in NEVER[room])
    } == set()


def test_no_imports_go_round_in_a_circle() -> None:
    graph = within(imports())
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)  # it raises where there is a circle


@pytest.mark.parametrize("package", ONLY)
def test_a_package_of_others_is_imported_only_where_it_may_be(package: str) -> None:
    importing = [name for name, found in imports().items() if any(f"{i}.".startswith(f"{package}.") for i in found)]
    assert [name for name in importing if not any(in_room(name, room) for room in ONLY[package])] == []


def test_no_code_of_a_models_is_run() -> None:
    texts = {name: path.read_text(encoding="utf-8") for name, path in sources().items()}
    assert [name for name, text in texts.items() if "trust_remote_code=True" in text] == []
    assert [name for name, text in texts.items() if "load" in attributes(text, "torch")] == []


def attributes(text: str, module: str) -> set[str]:
    """Return what some code takes of a module by its name; what it writes in a message doesn't count."""
    return {
        node.attr
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == module
    }


def test_no_test_imports_a_test() -> None:
    paths = [*(ROOT / "tests").rglob("*.py")]
    assert {(path.name, module) for path in paths for module in imported_tests(path) if ".test_" in module} == set()
    assert any(path.name == Path(__file__).name for path in paths)


def imported_tests(path: Path) -> Iterator[str]:
    """Yield the modules of the tests that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def modules_after(code: str) -> set[str]:
    """Return the modules that some code loads: of the product, its folders; of others, what they are called."""
    probe = f"import sys\n{code}\nprint(*{{m.removeprefix('{PRODUCT}.').split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("code", "never"),
    [
        (
            "from token_catalog.catalog import publish, state, schemas",
            {"torch", "transformers", "safetensors", "ingest"},
        ),
        ("from token_catalog.queries import session, demo", {"torch", "transformers", "ingest", "duckdb"}),
        (
            "from token_catalog.queries import verify, export",
            {"torch", "transformers", "safetensors", "ingest", "duckdb"},
        ),
        (
            "import token_catalog.ingest.features.scan, token_catalog.ingest.recipe.recipe\n"
            "from token_catalog.ingest.source import resolve, vocabulary",
            {"duckdb", "transformers", "queries"},
        ),
        ("import token_catalog", {"torch", "transformers", "duckdb", "pyarrow", "numpy", "typer"}),
        ("import token_catalog.cli", {"torch", "transformers", "duckdb", "pyarrow", "numpy"}),
    ],
    ids=["catalog", "queries", "figures and files", "ingest", "the library", "the command line"],
)
def test_importing_loads_no_more_than_it_must(code: str, never: set[str]) -> None:
    assert modules_after(code) & never == set()


def test_help_and_shell_start_without_torch(minilm: Path) -> None:
    for argv in (["token-catalog", "--help"], ["token-catalog", "shell", "--catalog", str(minilm)]):
        assert modules_after(STARTS.format(argv)) & {"torch", "transformers", "duckdb"} == set()
