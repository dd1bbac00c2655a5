"""Each folder of code has a README of a screen, which names what is in the folder, and nothing that isn't there."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.pages import ROOT
from token_catalog.catalog.paths import OPEN_SQL

ROOMS = sorted(path.parent for path in (ROOT / "ingest").glob("*/__init__.py"))
FOLDERS = [
    *(ROOT / name for name in ("catalog", "docs", "ingest", "queries", "tensors", "tests", "token_catalog")),
    *ROOMS,
]
# A file by its ending, or a folder by its slash; where it is found: beside the page, or from the project's folder.
NAMED = re.compile(r"`([\w./-]+?(?:\.(?:py|sql|toml|csv|ipynb)|/))`")
LINES, WIDTH = 60, 140


def readme(folder: Path) -> str:
    """Return a folder's README; of the contract, what it says of its folder."""
    return (folder / "README.md").read_text(encoding="utf-8").rpartition("## The folder")[2]


def named(folder: Path) -> str:
    """Return a folder's place in the project."""
    return folder.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_its_readme_is_a_screen(folder: Path) -> None:
    lines = readme(folder).splitlines()
    assert 3 < len(lines) <= LINES


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_what_its_readme_names_is_there(folder: Path) -> None:
    for name in NAMED.findall(readme(folder)):
        assert name == OPEN_SQL or any((base / name).exists() for base in (folder, ROOT, ROOT / "ingest")), name


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder != ROOT / "tests"], ids=named)
def test_its_readme_names_every_module(folder: Path) -> None:
    modules = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    assert modules - set(NAMED.findall(readme(folder))) == set()


def test_the_readmes_name_every_room() -> None:
    themes = tomllib.loads((ROOT / "queries" / "manifest.toml").read_text(encoding="utf-8"))
    rooms = {
        "ingest": {f"{room.name}/" for room in ROOMS},
        "queries": {f"{theme}/" for theme in themes},
        "tests": {f"{path.parent.name}/" for path in (ROOT / "tests").glob("*/__init__.py")},
    }
    for folder, names in rooms.items():
        assert names - set(NAMED.findall(readme(ROOT / folder))) == set()
