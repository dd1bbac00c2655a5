"""Fixtures: a catalog of the real model, made once; nothing of the user's own catalog or hub cache is touched."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.demo import ingest_demo
from tests.hub_server import Hub, serving_a_model


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


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """Serve an untied model as ID to this process."""
    with serving_a_model(tmp_path) as hub:
        yield hub
