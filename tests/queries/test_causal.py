"""The causal metric against exact fractions: norms at ingest, distances in the real DuckDB shell and in Python."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import torch

from tests.support.helpers import bf16_matrix, in_shell, ingest_bare, rows
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.publish import remove
from token_catalog.ingest.recipe.recipe import LinkageDistances
from token_catalog.ingest.recipe.shipping import load_recipe
from token_catalog.ingest.relink import relink

EPSILON = 1e-6
Row = list[float]
Exact = list[list[Fraction]]


def matrix() -> torch.Tensor:
    """Return a matrix of 5 columns with equal rows, rows that are near, a zero, and one not finite."""
    W = bf16_matrix(40, 5, seed=3, scale=0.1)
    W[3], W[4] = W[7], W[7]
    W[5] = 0
    W[6, 2] = float("nan")
    W[8] = W[7]
    W[8, 2] = torch.nextafter(W[7, 2], torch.tensor(9.0, dtype=torch.bfloat16))
    return W


def solved(A: Exact, b: list[Fraction]) -> list[Fraction]:
    """Return x with A x = b, by elimination in fractions."""
    rows_ = [[*row, value] for row, value in zip(A, b, strict=True)]
    n = len(b)
    for i in range(n):
        pivot = next(k for k in range(i, n) if rows_[k][i] != 0)
        rows_[i], rows_[pivot] = rows_[pivot], rows_[i]
        rows_[i] = [value / rows_[i][i] for value in rows_[i]]
        for k in range(n):
            if k != i:
                rows_[k] = [a - rows_[k][i] * b for a, b in zip(rows_[k], rows_[i], strict=True)]
    return [row[-1] for row in rows_]


class Metric:
    """Lengths under (C + εI)⁻¹ of the finite rows of a matrix, each number a fraction until the root."""

    def __init__(self, W: torch.Tensor, epsilon: float) -> None:
        """Make the mean and the covariance."""
        X = [[Fraction(value) for value in row] for row in W.double().tolist() if all(map(math.isfinite, row))]
        n, d = len(X), len(X[0])
        self.mean = [sum((row[j] for row in X), Fraction(0)) / n for j in range(d)]
        centred = [[a - b for a, b in zip(row, self.mean, strict=True)] for row in X]
        self.C = [[sum((r[i] * r[j] for r in centred), Fraction(0)) / n for j in range(d)] for i in range(d)]
        self.A = [[self.C[i][j] + (Fraction(epsilon) if i == j else 0) for j in range(d)] for i in range(d)]

    def length(self, row: Row, place: list[Fraction]) -> float:
        """Return the length of row - place."""
        x = [Fraction(value) - at for value, at in zip(row, place, strict=True)]
        return math.sqrt(sum((a * b for a, b in zip(x, solved(self.A, x), strict=True)), Fraction(0)))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of `m`, with the metric, and `plain`, without it. Read it; publish nothing to it."""
    catalog = tmp_path_factory.mktemp("causal") / "c"
    clusters = [{"name": "some", "where": "token_id < 12"}]
    ingest_bare(catalog, matrix(), recipe=load_recipe({"causal": {"epsilon": EPSILON}, "cluster": clusters}))
    ingest_bare(catalog, matrix()[:, :4], "plain", recipe=load_recipe({"cluster": clusters}))
    return catalog


def test_a_norm_is_what_exact_arithmetic_gives(catalog: Path) -> None:
    W = matrix()
    metric = Metric(W, EPSILON)
    found = [value for (value,) in rows(catalog, "select causal_norm from features order by token_id", "m")]
    expected = [metric.length(row, metric.mean) if math.isfinite(sum(row)) else None for row in W.double().tolist()]
    assert found[6] is None
    assert expected[6] is None
    np.testing.assert_allclose([*found[:6], *found[7:]], [*expected[:6], *expected[7:]], rtol=1e-13)
    assert found[3] == found[4] == found[7]
    ((epsilon, condition),) = rows(
        catalog, "select causal_epsilon, causal_condition_number from models where model = 'm'"
    )
    values = np.linalg.eigvalsh(np.array([[float(a) for a in row] for row in metric.C]))
    assert epsilon == EPSILON
    np.testing.assert_allclose(condition, (values[-1] + EPSILON) / (values[0] + EPSILON), rtol=1e-9)
    assert rows(catalog, "select count(causal_norm) from features", "plain") == [(0,)]


@pytest.mark.parametrize(("epsilon", "spread"), [(1e-6, 1e-3), (1e-9, 1e-4), (1e-12, 1e-5)])
def test_a_norm_is_as_accurate_as_the_contract_says(tmp_path: Path, epsilon: float, spread: float) -> None:
    """Rows flat in one direction: the condition number is large, and the error within 1e-15 of it, and a little."""
    rng = np.random.default_rng(1)
    Q = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    W = torch.from_numpy((rng.normal(size=(30, 4)) * [1, 0.5, 0.1, spread] @ Q + 0.2).astype(np.float32))
    ingest_bare(tmp_path / "c", W, recipe=load_recipe({"causal": {"epsilon": epsilon}}))
    metric = Metric(W, epsilon)
    found = [value for (value,) in rows(tmp_path / "c", "select causal_norm from features order by token_id")]
    ((condition,),) = rows(tmp_path / "c", "select causal_condition_number from models")
    truth = [metric.length(row, metric.mean) for row in W.double().tolist()]
    np.testing.assert_allclose(found, truth, rtol=1e-15 * condition + 1e-13)


@pytest.mark.parametrize("place", [[0.3, -0.1, 0.0, 2.5, 1e-3], None])
def test_distances_are_what_exact_arithmetic_gives_near_and_far(catalog: Path, place: Row | None) -> None:
    W = matrix().double().tolist()
    h = place or W[7]
    metric = Metric(matrix(), EPSILON)
    truth = {
        token: metric.length(row, [Fraction(value) for value in h])
        for token, row in enumerate(W)
        if math.isfinite(sum(row))
    }
    found = dict(rows(catalog, f"select token_id, causal_distance from causal_distances_to({h})", "m"))
    assert found.pop(6) is None
    assert found.keys() == truth.keys()
    largest = max(truth.values()) + metric.length(h, metric.mean)
    ((condition,),) = rows(catalog, "select causal_condition_number from models where model = 'm'")
    for token, distance in found.items():
        assert abs(distance**2 - truth[token] ** 2) <= 1e-15 * condition * largest**2
    if place is None:
        assert found[3] == found[4] == found[7] == 0
        assert found[8] > 0
    near = dict(rows(catalog, f"select token_id, causal_distance from causal_distances('some', {h}, {EPSILON})", "m"))
    assert sorted(near) == [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11]
    np.testing.assert_allclose([*near.values()], [truth[token] for token in near], rtol=1e-12)
    assert [*near.values()] == sorted(near.values())


def test_a_cluster_is_measured_with_any_epsilon_in_a_model_without_the_metric(catalog: Path) -> None:
    W, h = matrix()[:, :4], [0.1, 0.2, -0.3, 0.4]
    for epsilon in (1e-3, 1.0):
        metric = Metric(W, epsilon)
        found = in_shell(
            catalog,
            "set variable model = 'plain'; select token_id, text, causal_distance from "
            f"causal_distances('some', {h}, {epsilon}) where token_id in (0, 8) order by token_id;",
        )
        truth = [metric.length(W[token].double().tolist(), [Fraction(v) for v in h]) for token in (0, 8)]
        assert [row["token_id"] for row in found] == [0, 8]
        np.testing.assert_allclose([row["causal_distance"] for row in found], truth, rtol=1e-12)
    inside = "select vector from vectors where token_id = 7"
    ((least,),) = rows(catalog, f"select min(causal_distance) from causal_distances('some', ({inside}), 1e-3)", "plain")
    assert least == 0


def test_a_vector_meets_models_of_its_own_length_alone(catalog: Path) -> None:
    query = "select distinct model from causal_distances_to([1, 2, 3, 4, 5])"
    assert in_shell(catalog, f"{query};") == [{"model": "m"}]


BAD = {
    "no metric": ("causal_distances_to([1, 2, 3, 4])", "plain: was ingested without a .causal. in its recipe"),
    "no model": ("causal_distances_to([1, 2])", "h: has 2 numbers, and no model in view has rows of that length"),
    "not finite": ("causal_distances_to([1, 2, 'nan'::double, 0, 0])", "h: has a NULL, a NaN or a number past"),
    "no cluster": ("causal_distances('sme', [1, 2, 3, 4, 5], 1e-6)", "has a cluster 'sme' with a token in it"),
    "epsilon 0": ("causal_distances('some', [1, 2, 3, 4, 5], 0)", "epsilon is 0, and must be above 0: models"),
    "epsilon below": ("causal_distances('some', [1, 2, 3, 4, 5], -1e-6)", "epsilon is -1e-06, and must be above 0"),
    "no epsilon": ("causal_distances('some', [1, 2, 3, 4, 5], null)", "epsilon is NULL, and must be above 0"),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_measured_is_an_error(catalog: Path, asked: str, message: str) -> None:
    with pytest.raises(duckdb.Error, match=message):
        rows(catalog, f"from {asked}")


def test_relinking_keeps_the_norms(tmp_path: Path) -> None:
    ingest_bare(tmp_path / "c", matrix(), recipe=load_recipe({"causal": {"epsilon": EPSILON}}))
    query = "select causal_norm, causal_epsilon, causal_condition_number from features, models order by token_id"
    before = rows(tmp_path / "c", query)
    relink(tmp_path / "c", "m", LinkageDistances(0.5, 0.2))
    assert rows(tmp_path / "c", query) == before


def test_the_most_vectors_are_counted_in_each_model_by_itself(tmp_path: Path) -> None:
    """Two models of 2,600 rows are measured together; one of 5,001 isn't."""
    everything = load_recipe({"cluster": [{"name": "all", "where": "true"}]})
    for seed, (name, n_tokens) in enumerate({"a": 2_600, "b": 2_600, "c": 5_001}.items()):
        W = torch.randn(n_tokens, 3, generator=torch.Generator().manual_seed(seed))
        ingest_bare(tmp_path / "c", W, name, recipe=everything)
    query = "select count(*) from causal_distances('all', [0, 0, 0], 1e-6)"
    with pytest.raises(duckdb.Error, match="c: the cluster has 5001 different vectors"):
        rows(tmp_path / "c", query, "c")
    remove(tmp_path / "c", "c")
    assert rows(tmp_path / "c", query) == [(5_200,)]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "epsilon 0": ({"causal": {"epsilon": 0}}, "causal.epsilon: 0: must be above 0"),
    "epsilon below": ({"causal": {"epsilon": -1e-6}}, "causal.epsilon: -1e-06: must be above 0"),
    "nan": ({"causal": {"epsilon": float("nan")}}, "causal.epsilon: nan is not finite"),
    "no epsilon": ({"causal": {}}, "causal.epsilon: missing; epsilon = 1e-6, say"),
    "a key": ({"causal": {"eps": 1}}, "causal.eps: unknown key; here are known: epsilon"),
    "keep 2": ({"pca": {"keep": 2}}, "pca.keep: 2: from 3, which the sky needs, to the number of W's columns"),
    "keep a text": ({"pca": {"keep": "all"}}, "pca.keep: 'all' is no whole number"),
    "keep a key": ({"pca": {"kep": 8}}, "pca.kep: unknown key; here are known: keep"),
}


@pytest.mark.parametrize(("asked", "message"), WRONG.values(), ids=WRONG)
def test_what_is_written_wrongly_is_refused_with_its_key(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(CatalogError, match=f"^{message}"):
        load_recipe(asked)
