"""Spectra of clusters against exact cases and naive fp64 arithmetic; their skies, and the command."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.command_line import refused, run
from tests.support.helpers import bf16_matrix, in_shell, ingest_bare, rows
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.state import read_state
from token_catalog.ingest.arithmetic.arrays import Ids
from token_catalog.ingest.arithmetic.components import subset_components
from token_catalog.ingest.recipe.recipe import LinkageDistances
from token_catalog.ingest.recipe.shipping import load_recipe
from token_catalog.ingest.relink import relink
from token_catalog.ingest.spectra.spectrum import spectrum
from token_catalog.ingest.spectrum import cluster_spectrum

Array = np.ndarray[Any, np.dtype[np.float64]]

pytestmark = pytest.mark.usefixtures("tables_only")
CLUSTERS = {"few": "token_id < 12", "many": "token_id < 80 or token_id > 118", "twins": "token_id in (30, 31, 32)"}


def matrix() -> torch.Tensor:
    """Return a matrix with rows equal to rows 0 and 30, a row of -0.0, and one not finite."""
    W = bf16_matrix(120, 16)
    W[1], W[2] = W[0], W[0]
    W[31], W[32] = W[30], W[30]
    W[5], W[6] = 0.0, -0.0
    W[7, 2] = float("inf")
    return W


def naive(X: Array) -> tuple[Array, Array]:
    """Return the eigenvalues and eigenvectors (in rows) of the covariance of rows, descending, on their mean's side."""
    values, columns = np.linalg.eigh(np.cov(X, rowvar=False, bias=True))
    vectors = columns[:, ::-1].T
    return values[::-1], vectors * np.where(vectors @ X.mean(axis=0) < 0, -1, 1)[:, None]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog with the spectra of `few` and `many`, both ways. Read it; publish nothing to it."""
    catalog = tmp_path_factory.mktemp("spectra") / "c"
    clusters = [{"name": name, "where": where} for name, where in CLUSTERS.items()]
    ingest_bare(catalog, matrix(), recipe=load_recipe({"cluster": clusters}))
    for weighting in ("tokens", "vectors"):
        for cluster in ("few", "many"):
            cluster_spectrum(catalog, "m", cluster, weighting)
    return catalog


@pytest.mark.parametrize("cluster", ["few", "many"])
@pytest.mark.parametrize("weighting", ["tokens", "vectors"])
def test_a_spectrum_is_what_naive_arithmetic_gives(catalog: Path, cluster: str, weighting: str) -> None:
    X = matrix().double().numpy()[:12] if cluster == "few" else matrix().double().numpy()[[*range(80), 119]]
    X = X[np.isfinite(X).all(axis=1)]
    n_tokens, n_vectors = len(X), len(np.unique(X + 0.0, axis=0))
    if weighting == "vectors":
        X = np.unique(X + 0.0, axis=0)
    values, vectors = naive(X)
    about = f"cluster = '{cluster}' and weighting = '{weighting}'"
    ((*counts, total, ratio, rank, tolerance),) = rows(
        catalog, f"select * exclude (model, cluster, weighting) from spectra where {about}"
    )
    assert counts == [n_tokens, n_vectors]
    np.testing.assert_allclose(total, X.var(axis=0).sum(), rtol=1e-13)
    np.testing.assert_allclose(ratio, values.sum() ** 2 / (values**2).sum(), rtol=1e-12)
    assert rank == min(n_vectors - 1, 16) == np.linalg.matrix_rank(X - X.mean(axis=0))
    found = rows(
        catalog, f"select eigenvalue, variance_share, vector from spectrum_components where {about} order by pc"
    )
    assert len(found) == min(n_vectors, 16)
    np.testing.assert_allclose(tolerance, values[0] * max(n_vectors, 16) * 2.0**-52, rtol=1e-12)
    np.testing.assert_allclose([row[0] for row in found], values[: len(found)], atol=1e-15 * 4 * values[0])
    np.testing.assert_allclose([row[1] for row in found], values[: len(found)] / values.sum(), atol=1e-14)
    np.testing.assert_allclose([row[2] for row in found][:rank], vectors[:rank], atol=1e-10)
    V = np.array([row[2] for row in found])
    np.testing.assert_allclose(V @ V.T, np.eye(len(V)), atol=1e-14)


@pytest.mark.views
@pytest.mark.parametrize("weighting", ["tokens", "vectors"])
def test_its_sky_is_a_frame_at_the_centroid(catalog: Path, weighting: str) -> None:
    name = "spectrum:many" + (":vectors" if weighting == "vectors" else "")
    W = matrix().double().numpy()
    X = W[[*range(80), 119]]
    X = X[np.isfinite(X).all(axis=1)]
    X = np.unique(X + 0.0, axis=0) if weighting == "vectors" else X
    _, vectors = naive(X)
    xyz = (W - X.mean(axis=0)) @ vectors[[0, 2, 1]].T
    found = np.array(rows(catalog, f"select x, y, z from frame_places where frame = '{name}' order by token_id"), float)
    np.testing.assert_allclose(found, np.where(np.isfinite(W).all(axis=1)[:, None], xyz, np.nan), atol=1e-9)
    ((stated,),) = rows(
        catalog,
        f"select vector from spectrum_components where cluster = 'many' and weighting = '{weighting}' and pc = 3",
    )
    assert rows(catalog, f"select y_axis from frame_axes where frame = '{name}'") == [(stated,)]


def test_a_known_spectrum() -> None:
    """Rows ±(2, 0, 0) and (0, ±1, 0), the latter counted thrice: λ = (2·4/8, 6·1/8, 0); (1.75)² / (1 + 0.5625)."""
    W = torch.tensor([[2.0, 0, 0], [-2, 0, 0], *[[0, 1, 0]] * 3, *[[0, -1, 0]] * 3])
    same = np.array([0, 1, 2, 2, 2, 5, 5, 5], np.int32)
    found = spectrum(W, "c", np.arange(8, dtype=np.int32), same, "tokens")
    np.testing.assert_allclose(found.eigenvalues, [1.0, 0.75, 0.0], atol=1e-15)
    assert found.row["n_vectors"] == 4
    assert found.row["rank"] == 2
    np.testing.assert_allclose(found.row["participation_ratio"], 1.75**2 / 1.5625, rtol=1e-15)
    apart = spectrum(W, "c", np.arange(8, dtype=np.int32), same, "vectors")
    np.testing.assert_allclose(apart.eigenvalues, [2.0, 0.5, 0.0], atol=1e-15)


@pytest.mark.parametrize(("n", "d"), [(2, 40), (30, 40), (39, 40), (40, 40), (60, 40)])
def test_eigenvalues_of_any_shape_are_right_to_the_largest_and_directions_hold(n: int, d: int) -> None:
    """A spectrum over ten decades, against an 80-bit covariance: C v = λ v, whichever side was the smaller one."""
    rng = np.random.default_rng(n)
    W = torch.from_numpy((rng.normal(size=(n, d)) * np.logspace(0, -5, d) + 0.3).astype(np.float32))
    counts: Ids = rng.integers(1, 5, n).astype(np.int32)
    found = subset_components(W, np.arange(n, dtype=np.int32), counts)
    X, weights = W.numpy().astype(np.longdouble), counts.astype(np.longdouble)[:, None]
    X = X - (weights * X).sum(axis=0) / weights.sum()
    C = (weights * X).T @ X / weights.sum()
    assert len(found.eigenvalues) == min(n, d)
    V, values = found.vectors.astype(np.longdouble), found.eigenvalues.astype(np.longdouble)
    assert np.abs(V @ C @ V.T - np.diag(values)).max() < 4e-15 * values[0]
    assert np.abs(V @ V.T - np.eye(len(V))).max() < 1e-14
    assert abs(float(np.trace(C) - values.sum())) < 1e-14 * values[0]


def test_rows_that_spread_in_fewer_directions_than_a_sky_needs_have_none(tmp_path: Path) -> None:
    clusters = [{"name": "three", "where": "token_id < 3"}, {"name": "all", "where": "true"}]
    W = bf16_matrix(20, 6)
    ingest_bare(tmp_path / "c", W, recipe=load_recipe({"cluster": clusters}))
    report = cluster_spectrum(tmp_path / "c", "m", "three", "tokens")
    assert report.notes[-1] == "m: its rows spread in 2 directions, and a sky needs 3: so it has none"
    assert rows(tmp_path / "c", "select rank from spectra") == [(2,)]
    assert rows(tmp_path / "c", "from frame_axes") == []


def test_axes_with_equal_eigenvalues_are_warned_of(tmp_path: Path) -> None:
    W = torch.cat([torch.eye(4), -torch.eye(4)]) * torch.tensor([3.0, 2, 2, 1]) + 0.5
    ingest_bare(tmp_path / "c", W, recipe=load_recipe({"cluster": [{"name": "all", "where": "true"}]}))
    (warning,) = cluster_spectrum(tmp_path / "c", "m", "all", "tokens").warnings
    assert warning.startswith("m: axes of 'spectrum:all' with an equal eigenvalue beside theirs: PC2, PC3;")


def test_a_spectrum_that_is_there_is_made_anew_only_where_asked(tmp_path: Path, catalog: Path) -> None:
    before = read_state(catalog)
    with pytest.raises(CatalogError, match=r"m: has a spectrum of 'few', weighted by tokens; `replace=True` makes it"):
        cluster_spectrum(catalog, "m", "few", "tokens")
    assert read_state(catalog) == before
    mine = tmp_path / "c"
    ingest_bare(mine, matrix(), recipe=load_recipe({"cluster": [{"name": "few", "where": "token_id < 12"}]}))
    for replace in (False, True):
        cluster_spectrum(mine, "m", "few", "tokens", replace=replace)
        assert rows(mine, "select count(*), count(distinct frame) from frame_places") == [(120, 1)]
        assert rows(mine, "select count(*) from spectra") == [(1,)]


BAD = {
    "no cluster": ("nowhere", "tokens", r"m: `cluster=`: no cluster 'nowhere'; there are 'few', 'largest"),
    "no reference": ("x:dot-mode", "tokens", r"m: `cluster=`: 'x:dot-mode': reference 'x' isn't there"),
    "no component": ("component:3", "tokens", r"m: 'component:3': no component of two tokens or more has 3"),
    "one vector": ("twins", "tokens", r"m: 'twins': has 3 finite rows, all equal; a spectrum needs 2 different ones"),
    "weighting": ("few", "rows", r"`weighting=rows`: unknown; one of tokens, vectors"),
}  # fmt: skip


@pytest.mark.parametrize(("cluster", "weighting", "message"), BAD.values(), ids=BAD)
def test_what_has_no_spectrum_is_refused_and_nothing_changes(
    catalog: Path, cluster: str, weighting: str, message: str
) -> None:
    before = read_state(catalog)
    with pytest.raises(CatalogError, match=message):
        cluster_spectrum(catalog, "m", cluster, weighting)
    assert read_state(catalog) == before


def test_relinking_makes_the_spectrum_of_a_component_anew_or_leaves_it_out(tmp_path: Path) -> None:
    catalog, W = tmp_path / "c", matrix()
    W[40:60] = W[40] * (1 + torch.arange(20)[:, None] * 0.01)
    ingest_bare(catalog, W, asked=LinkageDistances(0.5, 0.5))
    cluster_spectrum(catalog, "m", "largest-component", "tokens")
    ((n_tokens,),) = rows(catalog, "select n_tokens from spectra")
    assert n_tokens > 20
    assert any(
        "m: spectrum of 'largest-component': 20 tokens" in note
        for note in relink(catalog, "m", LinkageDistances(threshold=0.01)).notes
    )
    truth = W[40:60].double().numpy().var(axis=0).sum()
    np.testing.assert_allclose(rows(catalog, "select total_variance from spectra"), [(truth,)], rtol=1e-12)
    cluster_spectrum(catalog, "m", "component:40", "tokens")
    notes = relink(catalog, "m", LinkageDistances(1e-9, 1e-9)).notes
    assert any("the spectrum of a cluster that changed is left out: 'component:40': no component" in n for n in notes)


@pytest.mark.views
def test_the_command_stores_a_spectrum_of_the_demo(tmp_path: Path) -> None:
    catalog = tmp_path / "c"
    ingest_bare(catalog, matrix(), recipe=load_recipe({"cluster": [{"name": "few", "where": "token_id < 12"}]}))
    done = run("spectrum", "m", "--cluster", "few", "--weighting", "vectors", "--catalog", catalog)
    assert done.returncode == 0, done.stderr
    assert "m: spectrum of 'few': 11 tokens on 8 vectors, weighted by vectors; rank 7, participation" in done.stdout
    assert "m: its sky is the frame 'spectrum:few:vectors'" in done.stdout
    assert in_shell(catalog, "select cluster, weighting, rank from spectra;") == [
        {"cluster": "few", "weighting": "vectors", "rank": 7}
    ]
    assert in_shell(catalog, "select count(*) as n from frames where frame = 'spectrum:few:vectors';") == [{"n": 120}]
    message = refused("spectrum", "m", "--cluster", "few", "--weighting", "vectors", "--catalog", catalog)
    assert "m: has a spectrum of 'few', weighted by vectors; --replace makes it anew" in message
