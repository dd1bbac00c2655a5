"""Fixtures: a catalog of the real model, made once; nothing of the user's own catalog or hub cache is touched."""

from pathlib import Path

import pytest

from ingest.run import ingest
from ingest.sources import Options
from tests.helpers import MINILM, minilm_folder


@pytest.fixture(autouse=True)
def _no_catalog_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN_CATALOG", raising=False)


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of all-MiniLM-L6-v2. Read it; don't publish to it."""
    catalog = tmp_path_factory.mktemp("minilm") / "catalog"
    ingest(catalog, str(minilm_folder()), Options(name=MINILM))
    return catalog
