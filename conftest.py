"""For the examples in the library's docstrings: a small catalog, by its folder, as `catalog`."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _small_catalog(request: pytest.FixtureRequest, doctest_namespace: dict[str, Any]) -> None:
    """Give the examples of `token_catalog.api` a catalog with one model, `m`, of 60 tokens."""
    if request.node.name.startswith("token_catalog.api."):
        doctest_namespace["catalog"] = request.getfixturevalue("_catalog_of_m")


@pytest.fixture(scope="session")
def _catalog_of_m(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.helpers import bf16_matrix, ingest_bare

    catalog = tmp_path_factory.mktemp("m") / "catalog"
    ingest_bare(catalog, bf16_matrix(60, 8), "m")
    return catalog
