"""Distances to places and of pairs, in the real DuckDB shell and in Python, against exact fractions."""

import math
from collections import Counter
from fractions import Fraction
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch

import token_catalog
from tests.support.helpers import bf16_matrix, in_shell, ingest_bare, rows
from token_catalog.ingest.recipe.entries import Cluster, Reference
from token_catalog.ingest.recipe.recipe import LinkageDistances, Recipe

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
    unread = Recipe(clusters=(Cluster("unread", "token_id < 5"),))
    ingest_bare(catalog, bf16_matrix(8, 3), "bare", recipe=unread, with_vectors=False)
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


METRICS = ("euclidean", "cosine", "linf", "l1")
PAIRS = "select token_id, other_token_id, euclidean, cosine, linf, l1 from pairs_within('{}') order by all"


def first_tokens(W: list[Row], inside: range) -> list[int]:
    """Return the lowest of these tokens of each different finite vector."""
    first: dict[tuple[float, ...], int] = {}
    for i in inside:
        if all(map(math.isfinite, W[i])):
            first.setdefault(tuple(x + 0.0 for x in W[i]), i)
    return [*first.values()]


def dot(a: Row, b: Row) -> Fraction:
    """Return a dot product without any rounding."""
    return sum((Fraction(x) * Fraction(y) for x, y in zip(a, b, strict=True)), Fraction(0))


def check_pair(a: Row, b: Row, euclidean: float, cosine: float | None, linf: float, l1: float) -> None:
    """Check a pair's metrics against exact fractions."""
    apart = [abs(Fraction(x) - Fraction(y)) for x, y in zip(a, b, strict=True)]
    assert near_the_root(euclidean, exact_square(a, b), 1e-14)
    assert linf == float(max(apart))
    assert abs(Fraction(l1) - sum(apart)) <= Fraction(1e-14) * sum(apart)
    squares = dot(a, a) * dot(b, b)
    if not squares:
        assert cosine is None
        return
    assert cosine is not None
    length = Fraction(math.isqrt(squares.numerator * 10**400 // squares.denominator), 10**200)
    assert abs(cosine - float(dot(a, b) / length)) <= 1e-14
    assert -1 <= cosine <= 1


@pytest.mark.parametrize("model", ["wide", "small"])
def test_pairs_of_a_cluster_are_measured_exactly_in_every_metric(two: Path, model: str) -> None:
    W = vectors_of(two, model)
    first = first_tokens(W, range(30))
    found = rows(two, PAIRS.format("some"), model)
    assert [(i, j) for i, j, *_ in found] == [(i, j) for i in first for j in first if i < j]
    for i, j, euclidean, cosine, linf, l1 in found:
        check_pair(W[i], W[j], euclidean, cosine, linf, l1)


def test_pairs_are_of_one_model_each_and_have_text_and_the_shells_too(two: Path) -> None:
    both = rows(two, "from pairs_within('some') order by all")
    alone = [row for model in ("small", "wide") for row in rows(two, "from pairs_within('some') order by all", model)]
    assert both == alone
    columns = [name for name, *_ in rows(two, "describe from pairs_within('some')")]
    assert columns == ["model", "token_id", "other_token_id", "text", "other_text", *METRICS]
    shown = in_shell(two, "set variable model = 'wide'; from pairs_within('some') order by all;")
    assert [row["token_id"] for row in shown] == [row[1] for row in alone if row[0] == "wide"]
    for name in METRICS:
        assert [row[name] for row in shown] == pytest.approx(
            [row[columns.index(name)] for row in both if row[0] == "wide"]
        )


def test_each_metric_is_the_same_asked_for_by_itself(two: Path) -> None:
    together = rows(two, PAIRS.format("some"), "small")
    for place, name in enumerate(METRICS, 2):
        alone = rows(two, f"select token_id, other_token_id, {name} from pairs_within('some') order by all", "small")
        assert [row[2] for row in alone] == [row[place] for row in together]


def test_the_library_lists_the_pairs_that_the_macro_lists(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("token_catalog.queries.pairs.BLOCK_ROWS", 7)
    for model in ("wide", "small"):
        table = token_catalog.open(two)[model].pairs_within("some")
        told = rows(two, "from pairs_within('some') order by all", model)
        assert table.column_names == [name for name, *_ in rows(two, "describe from pairs_within('some')")]
        found = [tuple(row.values()) for row in table.to_pylist()]
        assert [row[:5] for row in found] == [row[:5] for row in told]
        for own, other in zip(found, told, strict=True):
            known = [value for value in other[5:] if value is not None]
            assert [value for value in own[5:] if value is not None] == pytest.approx(known, rel=1e-14, abs=0)
            assert (own[6] is None) == (other[6] is None)
    assert token_catalog.open(two)["wide"].pairs_within("one").num_rows == 0


def test_a_cluster_of_one_vector_or_of_none_that_is_finite_has_no_pairs(two: Path) -> None:
    for cluster in ("one", "none"):
        assert rows(two, f"from pairs_within('{cluster}')", "wide") == []
        assert rows(two, f"from pair_histogram('{cluster}', 'l1', 1)", "wide") == []


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("width", [0.05, 0.3])
def test_a_histogram_counts_the_pairs_between_two_values(two: Path, metric: str, width: float) -> None:
    for model in ("wide", "small"):
        values = [value for (value,) in rows(two, f"select {metric} from pairs_within('some')", model)]
        bins = Counter(math.floor(value / width) for value in values if value is not None)
        found = rows(two, f"from pair_histogram('some', '{metric}', {width}::double)", model)
        assert found == [(model, k, k * width, (k + 1) * width, bins[k]) for k in sorted(bins)]
    if metric == "cosine":
        assert min(k for _, k, *_ in found) < 0
    shown = in_shell(two, f"set variable model = 'small'; from pair_histogram('some', '{metric}', {width}::double);")
    assert [tuple(row.values()) for row in shown] == found


def test_past_so_many_vectors_pairs_are_refused_and_counted_all_the_same(tmp_path: Path) -> None:
    W = torch.arange(5001 * 3).reshape(5001, 3).float()
    recipe = Recipe(clusters=(Cluster("all", "true"), Cluster("most", "token_id > 0")))
    ingest_bare(tmp_path / "c", W, recipe=recipe, asked=LinkageDistances(0.1, 0.1))
    message = "m: that cluster has 5001 different vectors, and pairs of up to 5000 are listed; pair_histogram counts"
    for query in ("from pairs_within('all')", "select count(*) from pairs_within('all')"):
        with pytest.raises(duckdb.Error, match=message):
            rows(tmp_path / "c", query)
    with pytest.raises(token_catalog.CatalogError, match=message):
        token_catalog.open(tmp_path / "c")["m"].pairs_within("all")
    assert rows(tmp_path / "c", "select count(*) from pairs_within('most')") == [(5000 * 4999 // 2,)]
    counted = rows(tmp_path / "c", "select bin, n_pairs from pair_histogram('all', 'linf', 6000)")
    below = [sum(5001 - apart for apart in range(1, 5001) if 3 * apart // 6000 == k) for k in (0, 1, 2)]
    assert counted == [*enumerate(below)]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("pairs_within('nothing')", "no model in view has a cluster 'nothing' with a token in it"),
        ("pairs_within(null)", "has a cluster NULL"),
        ("pair_histogram('nothing', 'l1', 1)", "has a cluster 'nothing'"),
        ("pair_histogram('some', 'l2', 1)", "metric: 'l2' is none; one of euclidean, cosine, linf, l1"),
        ("pair_histogram('some', null, 1)", "metric: NULL is none"),
        ("pair_histogram('some', 'l1', 0)", "width: 0 is none"),
        ("pair_histogram('some', 'l1', null)", "width: NULL is none"),
        ("pair_histogram('some', 'cosine', 1e-10)", "more than 2,147,483,647 bins"),
        ("pairs_within('unread')", "bare: was ingested with --no-vectors, so its rows aren't here"),
    ],
)
def test_what_has_no_pairs_is_an_error_and_not_an_empty_answer(two: Path, query: str, message: str) -> None:
    with pytest.raises(duckdb.Error, match=message):
        rows(two, f"from {query}")
    with pytest.raises(AssertionError, match=message):
        in_shell(two, f"from {query};")


def test_the_library_refuses_a_cluster_that_is_not_there(two: Path) -> None:
    with pytest.raises(token_catalog.CatalogError, match="has a cluster 'nothing'"):
        token_catalog.open(two)["wide"].pairs_within("nothing")
