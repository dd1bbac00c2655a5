"""Fixtures: catalogs of the real model and of the replica, made once; nothing of the user's own is touched."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.helpers import REPLICA
from tests.support.hub_server import Hub, serving_a_model
from tests.support.notebook_cells import Run, notebooks
from tests.support.replica import Replica, write_replica
from tests.support.replica_figures import Value, figures, write_table
from token_catalog.ingest.demo import ingest_demo
from token_catalog.ingest.recipe.recipe import load_recipe, shipped
from token_catalog.ingest.run import ingest
from token_catalog.ingest.source.resolve import Options


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some thousand times in all; whether it is done at the right moments, no test here could see."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def _no_catalog_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN_CATALOG", raising=False)


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the demo's catalog, of all-MiniLM-L6-v2. Read it; don't publish to it."""
    catalog = tmp_path_factory.mktemp("minilm") / "catalog"
    ingest_demo(catalog, "auto")
    return catalog


@pytest.fixture(scope="session")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Replica:
    """Return a small replica of the study's matrix."""
    return write_replica(tmp_path_factory.mktemp("replica"))


@pytest.fixture(scope="session")
def replica_figures(replica: Replica) -> dict[str, Value]:
    """Return its figures, computed by nothing of the product."""
    return figures(replica.W, replica.tokenizer)


@pytest.fixture(scope="session")
def replica_table(replica_figures: dict[str, Value], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return them as a table of published figures."""
    return write_table(tmp_path_factory.mktemp("replica_table") / "figures.csv", replica_figures)


@pytest.fixture(scope="session")
def replica_catalog(replica: Replica, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return its catalog, with the notebooks' recipe, on the CPU as their cells are. Read it; don't publish to it."""
    catalog = tmp_path_factory.mktemp("replica_catalog") / "catalog"
    recipe = load_recipe(shipped("qwen3-4b-instruct-2507"))
    options = Options(name=REPLICA, tokenizer=str(replica.tokenizer))
    ingest(catalog, str(replica.weights), options, recipe=recipe, device="cpu")
    return catalog


@pytest.fixture(scope="session")
def alone(replica: Replica, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return the notebooks' cells run on its W alone, and their files. Read them; don't write there."""
    return notebooks(replica.W, tmp_path_factory.mktemp("alone"), oriented_by=124)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """Serve an untied model as ID to this process."""
    with serving_a_model(tmp_path) as hub:
        yield hub
