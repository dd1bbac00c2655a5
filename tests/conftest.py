"""Fixtures: catalogs of the real model and of the replica, made once; nothing of the user's own is touched."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.support import further_figures as further
from tests.support.command_line import run
from tests.support.hub_server import Hub, serving_a_model
from tests.support.made_once import made_once
from tests.support.notebook_cells import Run, notebooks
from tests.support.pages import series_catalog, study_catalog
from tests.support.replica import Replica, load_replica, write_replica
from tests.support.replica_figures import FURTHER, Value, figures, write_table

# How long an example takes says more of the machine than of the code.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Keep torch to one thread: small matrices gain nothing by two, and workers beside each other wait for them."""
    torch.set_num_threads(1)


@pytest.fixture
def threads() -> Iterator[None]:
    """Put torch's number of threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tables_only(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build databases that have the tables, and not the views and macros of queries/, which take most of the time.

    For modules that read no more; a test there that does is marked `views`.
    """
    if not request.node.get_closest_marker("views"):
        monkeypatch.setattr("token_catalog.catalog.definitions.definitions", list)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some thousand times in all; whether it is done at the right moments, no test here could see."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def _no_catalog_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN_CATALOG", raising=False)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the demo's `catalog`, and what the command printed: `stdout` and `stderr`."""

    def make(folder: Path) -> None:
        done = run("demo", "--profile", "--catalog", folder / "catalog")
        assert done.returncode == 0, done.stderr
        (folder / "stdout").write_text(done.stdout)
        (folder / "stderr").write_text(done.stderr)

    return made_once(tmp_path_factory, "demo", make)


@pytest.fixture(scope="session")
def minilm(demo: Path) -> Path:
    """Return the demo's catalog, of all-MiniLM-L6-v2. Read it; don't publish to it, nor open it to write."""
    return demo / "catalog"


@pytest.fixture(scope="session")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Replica:
    """Return a small replica of the study's matrix."""
    return load_replica(made_once(tmp_path_factory, "replica", write_replica))


@pytest.fixture(scope="session")
def replica_figures(replica: Replica, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Value]:
    """Return its figures, computed by nothing of the product."""

    def make(folder: Path) -> None:
        (folder / "figures.json").write_text(json.dumps(figures(replica.W, replica.tokenizer)))

    found: dict[str, Value] = json.loads((made_once(tmp_path_factory, "figures", make) / "figures.json").read_text())
    return found


@pytest.fixture(scope="session")
def replica_table(replica_figures: dict[str, Value], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return them as a table of published figures."""
    return write_table(tmp_path_factory.mktemp("replica_table") / "figures.csv", replica_figures)


@pytest.fixture(scope="session")
def further_figures(replica: Replica, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Value]:
    """Return its further figures, computed by nothing of the product."""

    def make(folder: Path) -> None:
        (folder / "further.json").write_text(json.dumps(further.figures(replica.W, replica.tokenizer)))

    found: dict[str, Value] = json.loads((made_once(tmp_path_factory, "further", make) / "further.json").read_text())
    return found


@pytest.fixture(scope="session")
def further_table(further_figures: dict[str, Value], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return them as a table of published figures."""
    return write_table(tmp_path_factory.mktemp("further_table") / "further.csv", further_figures, FURTHER)


@pytest.fixture(scope="session")
def replica_catalog(replica: Replica, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return its catalog, with the notebooks' recipe, on the CPU as their cells are. Read it; don't publish to it."""

    def make(folder: Path) -> None:
        study_catalog(replica, folder)

    return made_once(tmp_path_factory, "replica_catalog", make) / "catalog"


@pytest.fixture(scope="session")
def run_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the catalog of a small run of training, which is beside it in `runs`. Read it; don't publish to it."""
    return made_once(tmp_path_factory, "run_catalog", series_catalog) / "token-catalog"


@pytest.fixture(scope="session")
def alone(replica: Replica, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return the notebooks' cells run on its W alone, and their files. Read them; don't write there."""

    def make(folder: Path) -> None:
        printed = notebooks(replica.W, folder, oriented_by=124).printed
        torch.save(printed, folder / "printed.pt")

    folder = made_once(tmp_path_factory, "alone", make)
    return Run(folder, torch.load(folder / "printed.pt", weights_only=False))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """Serve an untied model as ID to this process."""
    with serving_a_model(tmp_path) as hub:
        yield hub
