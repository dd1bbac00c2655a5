"""`[pca] keep`: as many leading components in `features.pcs` as asked for, and all else as without it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.helpers import ingest_bare, rows
from tests.support.matrices import planted
from token_catalog.catalog.errors import CatalogError
from token_catalog.ingest.recipe.recipe import LinkageDistances, parse_recipe
from token_catalog.ingest.recipe.shipping import load_recipe
from token_catalog.ingest.relink import relink

pytestmark = pytest.mark.usefixtures("tables_only")
ELSE = "* exclude (pcs, x, y, z, radius, lat, lon)"
SKY = "select x, y, z from features order by token_id"


@pytest.fixture(scope="module")
def W() -> torch.Tensor:  # noqa: N802 (as in every paper)
    """Return a matrix with a cluster, and a row that isn't finite."""
    W, _ = planted(300, 20, seed=1)
    W[9, 0] = float("nan")
    return W


@pytest.mark.parametrize("keep", [3, 8, 13, 20])
@pytest.mark.parametrize("equinox", [3, 11])
def test_there_are_so_many_and_nothing_else_is_another(
    tmp_path: Path, W: torch.Tensor, keep: int, equinox: int
) -> None:
    sky = {"sky": {"equinox": equinox}}
    for name, recipe in (("without", sky), ("with", {**sky, "pca": {"keep": keep}})):
        ingest_bare(tmp_path / name, W, recipe=load_recipe(recipe))
        relink(tmp_path / name, "m", LinkageDistances(0.2, 0.1))
    without, having = tmp_path / "without", tmp_path / "with"
    X = W.double().numpy()
    vectors = np.array([vector for (vector,) in rows(having, "select vector from principal_components order by pc")])
    pcs = [row for (row,) in rows(having, "select pcs from features order by token_id")]
    assert pcs.pop(9) is None
    np.testing.assert_allclose(pcs, np.delete(X, 9, axis=0) @ vectors[:keep].T, atol=1e-14)
    query = f"select {ELSE} from features order by token_id"
    assert rows(having, query) == rows(without, query)
    np.testing.assert_allclose(np.array(rows(having, SKY), float), np.array(rows(without, SKY), float), atol=1e-15)
    np.testing.assert_allclose(np.array(rows(having, SKY), float)[:, 1], X @ vectors[equinox - 1], atol=1e-14)


def test_centred_projections_are_what_is_left_of_the_means(tmp_path: Path, W: torch.Tensor) -> None:
    ingest_bare(tmp_path / "c", W, recipe=load_recipe({"pca": {"keep": 20}}))
    mean = np.delete(W.double().numpy(), 9, axis=0).mean(axis=0)
    found = rows(tmp_path / "c", "select vector, mean_projection, eigenvalue from principal_components order by pc")
    np.testing.assert_allclose([row[1] for row in found], [np.dot(row[0], mean) for row in found], atol=1e-15)
    pcs = np.array([row for (row,) in rows(tmp_path / "c", "select pcs from features where pcs is not null")])
    np.testing.assert_allclose(
        ((pcs - [row[1] for row in found]) ** 2).mean(axis=0), [row[2] for row in found], rtol=1e-10
    )


def test_more_than_there_are_or_than_can_be_stored_is_refused(tmp_path: Path, W: torch.Tensor) -> None:
    with pytest.raises(CatalogError, match=r"pca.keep is 21, but W has 20 columns, so as many components"):
        ingest_bare(tmp_path / "c", W, recipe=load_recipe({"pca": {"keep": 21}}))
    with pytest.raises(
        CatalogError, match=r"pca.keep is 4096: for 1,000,000 rows, 2,147 is the most that can be stored"
    ):
        parse_recipe({"pca": {"keep": 4096}}).check(1_000_000, 4096)
