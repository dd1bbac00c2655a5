"""Distances to places and of pairs, in the real DuckDB shell and in Python, against exact fractions."""

import math
from collections import Counter
from fractions import Fraction
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch

from tests.support.helpers import bf16_matrix, in_shell, ingest_bare, rows
from token_catalog.ingest.recipe.entries import Cluster, Reference
from token_catalog.ingest.recipe.recipe import Recipe

Row = list[float]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of two models: `wide` (bf16, 20 columns) and `small` (fp32, 5 columns), with special rows.

    Cluster `some` has the first 30 tokens of either, equal rows and one with a NaN or an infinity among them; `one`, a
    vector alone, twice; `none`, a row that isn't finite.
    """
    catalog = tmp_path_factory.mktemp("two") / "c"
    wide = bf16_matrix(90, 20, seed=4)
    wide[3], wide[4], wide[5], wide[6, 3] = wide[7], wide[7], 0, float("inf")
    wide[8] = wide[7]
    wide[8, 2] = torch.nextafter(wide[7, 2], torch.tensor(9.0, dtype=torch.bfloat16))
    wide[9] = torch.where(torch.arange(20) % 2 > 0, -0.0, wide[9])
    small = torch.randn(70, 5, generator=torch.Generator().manual_seed(9)) * 0.3
    small[10], small[6, 0] = small[12], float("nan")
    small[20] = torch.tensor([1e-40, 0, -3e-40, 2e-39, 1e-41])  # under fp32's normal numbers
    small[21] = small[20] + torch.tensor([1e-45, 0, 0, 0, 0])
    clusters = tuple(
        Cluster(name, where)
        for name, where in (("some", "token_id < 30"), ("one", "token_id in (3, 7)"), ("none", "token_id = 6"))
    )
    recipe = Recipe(references=(Reference("own", "token", 7), Reference("mean", "mean", True)), clusters=clusters)
    ingest_bare(catalog, wide, "wide", recipe=recipe)
    ingest_bare(catalog, small, "small", recipe=recipe)
    ingest_bare(catalog, bf16_matrix(8, 3), "bare", with_vectors=False)
    return catalog


def vectors_of(catalog: Path, model: str) -> list[Row]:
    """Return a model's rows."""
    query = f"select vector::double[] from vectors where model = '{model}' order by token_id"
    return [row for (row,) in rows(catalog, query)]


def near_the_root(found: float, square: Fraction, error: float) -> bool:
    """Whether a number is within a relative error of the root of an exact square."""
    return abs(Fraction(found) ** 2 - square) <= 2 * Fraction(error) * square


def exact_square(a: Row, b: Row) -> Fraction:
    """Return the squared distance without any rounding."""
    return sum(((Fraction(x) - Fraction(y)) ** 2 for x, y in zip(a, b, strict=True)), Fraction(0))


@pytest.mark.parametrize("model", ["wide", "small"])
def test_distances_to_a_vector_are_the_exact_ones_of_the_stored_values(two: Path, model: str) -> None:
    W = vectors_of(two, model)
    away = np.random.default_rng(1).standard_normal(len(W[0])).tolist()
    for h in (W[7], W[20], [x + 1e-9 for x in W[7]], away, [0.0] * len(away)):
        found = rows(two, f"select token_id, distance from distances_to({h}) order by token_id", model)
        assert [token_id for token_id, _ in found] == [*range(len(W))]
        for token_id, distance in found:
            if token_id == 6:
                assert distance is None
            else:
                assert near_the_root(distance, exact_square(W[token_id], h), 1e-14)
        assert in_shell(two, f"set variable model = '{model}'; from distances_to({h}) where token_id = 3;") == [
            {"model": model, "token_id": 3, "text": None, "distance": pytest.approx(found[3][1], rel=1e-14)}
        ]


@pytest.mark.parametrize("model", ["wide", "small"])
def test_a_references_distances_are_those_to_its_vector(two: Path, model: str) -> None:
    h = "(select vector from reference_vectors where reference = '{}')"
    for reference in ("own", "mean"):
        found = rows(
            two,
            f"select s.distance, d.distance from scores as s inner join distances_to({h.format(reference)}) as d "
            f"using (model, token_id) where s.reference = '{reference}' order by token_id",
            model,
        )
        assert found[6] == (None, None)
        for stored, asked in found[:6] + found[7:]:
            assert stored == pytest.approx(asked, rel=1.1e-12, abs=0)
    own = rows(two, "select token_id from scores where reference = 'own' and distance = 0 order by token_id", model)
    assert own == ([(3,), (4,), (7,)] if model == "wide" else [(7,)])


def test_a_vector_is_drawn_once_and_meets_only_models_of_its_length(two: Path) -> None:
    for _ in range(5):
        h = "(select vector from (from vectors where token_id > 30 and model = 'small') using sample 1)"
        ((model, least),) = rows(two, f"select any_value(model), min(distance) from distances_to({h})")
        assert (model, least) == ("small", 0)


@pytest.mark.parametrize(
    ("h", "message"),
    [
        ("[1, 2]", "h: has 2 numbers, and no model in view has rows of that length: .*small has 5"),
        ("[]", "h: has 0 numbers"),
        ("null", "h: NULL is no vector"),
        ("[1, 2, 3, 4, null]", "h: has a NULL, a NaN or a number past 1e100"),
        ("[1, 2, 3, 4, 'nan'::double]", "h: has a NULL, a NaN"),
        ("[1, 2, 3, 4, 1e101]", "number past 1e100"),
        ("[1, 2, 3]", "bare: was ingested with --no-vectors, so its rows aren't here; ingest it again"),
    ],
)
def test_a_vector_that_nothing_can_be_measured_from_is_an_error(two: Path, h: str, message: str) -> None:
    for query in (f"from distances_to({h})", f"from shells({h}, 0.1)", f"select count(*) from distances_to({h})"):
        with pytest.raises(duckdb.Error, match=message):
            rows(two, query)
    with pytest.raises(AssertionError, match=message):
        in_shell(two, f"from distances_to({h});")


def test_a_vector_is_measured_against_the_models_in_view_alone(two: Path) -> None:
    with pytest.raises(duckdb.Error, match=r"that length: wide has 20"):
        rows(two, "from distances_to([1, 2, 3, 4, 5])", "wide")


@pytest.mark.parametrize("width", [0.1, 0.25, 1 / 3])
@pytest.mark.parametrize("model", ["wide", "small"])
def test_shells_count_the_tokens_and_vectors_between_two_distances(two: Path, model: str, width: float) -> None:
    W = vectors_of(two, model)
    distances = dict(rows(two, f"select token_id, distance from distances_to({W[7]})", model))
    first = {i: min(j for j, other in enumerate(W) if other == row) for i, row in enumerate(W) if i != 6}
    place = {i: next(k for k in range(10**6) if distances[i] < (k + 1) * width) for i in first}
    tokens, vectors = Counter(place.values()), Counter(place[i] for i in first if first[i] == i)
    expected = [(model, k, k * width, (k + 1) * width, tokens[k], vectors[k]) for k in sorted(tokens)]
    assert rows(two, f"from shells({W[7]}, {width!r}::double)", model) == expected


def test_a_distance_at_the_bound_of_two_shells_is_in_the_outer_one(tmp_path: Path) -> None:
    """Also where the quotient is rounded the other way: 3 * 0.1 is above 0.3, and 0.3 / 0.1 below 3."""
    W = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [0, 1.0, 0], [1.0, 0, 0], [0.75, 0, 0]])
    ingest_bare(tmp_path / "c", W)
    assert rows(tmp_path / "c", "select shell, n_tokens from shells([0, 0, 0], 0.5)") == [(0, 1), (1, 2), (2, 2)]
    numbers = [0.3, 3 * 0.1, 0.7, 0.6, 6 * 0.1, 0.1, math.nextafter(0.1, 0), 1e8, 0.0]
    found = rows(tmp_path / "c", f"select bin_of(unnest({numbers}::double[]), 0.1::double)")
    bounds = [next(k for k in range(int(x * 10) - 2, int(x * 10) + 3) if k * 0.1 <= x < (k + 1) * 0.1) for x in numbers]
    assert [k for (k,) in found] == bounds
    assert rows(tmp_path / "c", "select bin_of(null, 0.1)") == [(None,)]


@pytest.mark.parametrize(
    ("width", "message"),
    [
        ("0", "width: 0 is none; give a number above 0"),
        ("-1", "width: -1 is none"),
        ("null", "width: NULL is none"),
        ("'nan'::double", "width: nan is none"),
        ("'inf'::double", "width: inf is none"),
        ("1e-12", "width: 1e-12 makes more than 2,147,483,647 bins"),
    ],
)
def test_a_width_that_makes_no_shells_is_an_error(two: Path, width: str, message: str) -> None:
    with pytest.raises(duckdb.Error, match=message):
        rows(two, f"from shells([1, 2, 3, 4, 5], {width})")
