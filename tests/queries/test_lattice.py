"""The bf16 lattice in SQL, in the real shell and in Python, beside the values themselves in their order."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.support.helpers import bf16_matrix, in_shell, ingest_bare, rows, shell_run
from tests.support.oracle_lattice import COORDINATE, VALUES, Linked, matrix, runs, value
from token_catalog.catalog.publish import rebuild
from token_catalog.ingest.recipe.entries import Cluster
from token_catalog.ingest.recipe.recipe import Recipe

WIDTH = 128


def exponent(number: float) -> int:
    """Return the exponent field of a finite bf16: of 1.0 it is 127, of 0 and subnormals 0."""
    return max(math.frexp(number)[1] + 126, 0) if number else 0


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of a matrix with every bit pattern of bf16, by rows; two of them aren't finite."""
    catalog = tmp_path_factory.mktemp("every") / "c"
    patterns = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)
    ingest_bare(catalog, patterns.reshape(-1, WIDTH), "m")
    ingest_bare(catalog, torch.tensor([[0.1, 0.2, 0.0], [0.3, 1.0, 7.0], [0.5, 2.0, 3.0]]), "other")
    return catalog


def by_row(catalog: Path, expression: str, *, shell: bool) -> list[Any]:
    """Return what an expression gives for each row of the matrix."""
    query = f"select {expression} as given from vectors where model = 'm' order by token_id"
    if shell:
        return [row["given"] for row in in_shell(catalog, f"{query};")]
    return [given for (given,) in rows(catalog, query)]


@pytest.mark.parametrize("shell", [False, True], ids=["python", "shell"])
def test_every_bf16_is_at_its_place_among_all_and_rows_that_are_not_finite_nowhere(every: Path, *, shell: bool) -> None:
    found = by_row(every, "lattice_of(vector)", shell=shell)
    expected = [[COORDINATE.get(number) for number in VALUES[at : at + WIDTH]] for at in range(0, 1 << 16, WIDTH)]
    assert found == [None if None in row else row for row in expected]
    assert [row for row, places in enumerate(found) if places is None] == [255, 511]


def test_bits_are_those_of_the_file(every: Path) -> None:
    found = [bits for row in by_row(every, "bits_of(vector)", shell=False) for bits in row]
    assert [bits for bits, number in zip(found, VALUES, strict=True) if not math.isnan(number)] == [
        bits for bits, number in enumerate(VALUES) if not math.isnan(number)
    ]
    assert all(math.isnan(value(bits)) for bits, number in zip(found, VALUES, strict=True) if math.isnan(number))


def test_exponents_are_the_fields_of_the_values(every: Path) -> None:
    found = [field for row in by_row(every, "exponents_of(vector)", shell=False) for field in row]
    for field, number in zip(found, VALUES, strict=True):
        assert field == (exponent(number) if math.isfinite(number) else 255)


def test_own_ulps_are_quotients_by_the_value_s_own_last_bit(every: Path) -> None:
    found = by_row(every, "own_ulps_of(vector)", shell=False)
    assert (found.pop(511), found.pop(255)) == (None, None)
    finite = [number for number in VALUES if math.isfinite(number)]
    for ulps, number in zip((ulps for row in found for ulps in row), finite, strict=True):
        assert ulps == math.ldexp(number, 134 - max(exponent(number), 1))


@pytest.mark.parametrize("shell", [False, True], ids=["python", "shell"])
def test_an_ulp_is_what_the_last_bit_of_the_nearest_bf16_is_worth(every: Path, *, shell: bool) -> None:
    """255.9 is nearest to 256; 3.4e38 to infinity, which has none."""
    numbers = {
        "0": 2.0**-133, "'-0.0'::float": 2.0**-133, "1": 2.0**-7, "-1.99": 2.0**-7, "1.999": 2.0**-6, "255.9": 2.0,
        "1e-41": 2.0**-133, "1.2e-38": 2.0**-133, "3.38e38": 2.0**120,
        "3.4e38": None, "'nan'::float": None, "null": None,
    }  # fmt: skip
    query = f"select unnest([{', '.join(f'ulp_at({number})' for number in numbers)}]) as ulp"
    found = [row["ulp"] for row in in_shell(every, f"{query};")] if shell else [ulp for (ulp,) in rows(every, query)]
    assert found == list(numbers.values())


@pytest.mark.parametrize("shell", [False, True], ids=["python", "shell"])
def test_steps_between_rows_are_counted_over_signs_exponents_and_subnormals(every: Path, *, shell: bool) -> None:
    """By hand: across zero 2; into the next octave 1; from subnormal to normal 1; -0.0 to 0.0 none."""
    a = [value(0x0001), value(0x3F7F), value(0x007F), value(0x8000), 2.0, value(0x7F7F)]
    b = [value(0x8001), value(0x3F80), value(0x0080), value(0x0000), 1.0, value(0xFF7F)]
    apart = [2, 1, 1, 0, 128, 2 * 32639]
    assert [abs(COORDINATE[x] - COORDINATE[y]) for x, y in zip(a, b, strict=True)] == apart
    for n in range(1, len(a) + 1):
        query = f"select steps_between({a[:n]}, {b[:n]}) as steps, exponent_distance({a[:n]}, {b[:n]}) as apart"
        ((steps, exponents),) = (
            [tuple(row.values()) for row in in_shell(every, f"{query};")] if shell else rows(every, query)
        )
        assert steps == {"linf": max(apart[:n]), "l1": sum(apart[:n])}
        assert exponents == (1 if n > 1 else 0)


def test_steps_from_a_row_that_is_not_finite_are_not_known(every: Path) -> None:
    query = "select steps_between(['nan'::float, 1], [1, 1]), steps_between([1, 1], [1, '-inf'::float])"
    assert rows(every, query) == [(None, None)]


@pytest.mark.parametrize("number", ["0.1", "1e300", "16777217", "1e-42::double"])
def test_a_number_that_is_no_bf16_is_refused_and_rounding_named(every: Path, number: str) -> None:
    for macro in ("lattice_of", "bits_of", "exponents_of", "own_ulps_of"):
        done = shell_run(every, f"select {macro}([1, {number}]);")
        assert (
            "is no bfloat16 value, and so not on its lattice; bf16_list(…) rounds a list to ones first" in done.stderr
        )


def test_a_row_of_another_dtype_is_rounded_by_bf16_list_first(every: Path) -> None:
    of_other = "from vectors where model = 'other' and token_id = 0"
    assert "no bfloat16 value" in shell_run(every, f"select lattice_of(vector) {of_other};").stderr
    assert rows(every, f"select lattice_of(bf16_list(vector)) {of_other}") == [([0x3DCD, 0x3E4D, 0],)]


def test_rows_of_different_lengths_are_not_compared(every: Path) -> None:
    done = shell_run(every, "select steps_between([1, 2], [1]);")
    assert "rows of 2 and 1 values can't be compared value by value" in done.stderr


def clumped() -> torch.Tensor:
    """Return 70 rows in clumps near zero and far from it, one twice and one five times, and one that isn't finite."""
    random = np.random.default_rng(8)
    centres = np.concatenate([random.integers(-2, 3, (2, 5)), random.integers(-20000, 20000, (3, 5))])
    W = matrix(centres[random.integers(5, size=70)] + random.integers(-2, 3, (70, 5)))
    W[[20, 33, 34, 50, 61]], W[41], W[12, 3] = W[4].clone(), W[40].clone(), float("nan")
    return W


@pytest.fixture(scope="module")
def clumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of the clumps, `m`, and beside it of an fp32 model, `full`, each with clusters of two names.

    `some` hasn't the lowest token of the five equal rows; `one` is a single token; `broken` a row that isn't finite.
    """
    catalog = tmp_path_factory.mktemp("clumps") / "c"
    clusters = {
        "some": "token_id between 10 and 65",
        "all": "token_id >= 0",
        "one": "token_id = 3",
        "broken": "token_id = 12",
    }
    ingest_bare(
        catalog, clumped(), "m", recipe=Recipe(clusters=tuple(Cluster(name, where) for name, where in clusters.items()))
    )
    ingest_bare(catalog, bf16_matrix(30, 5).float(), "full", recipe=Recipe(clusters=(Cluster("all", "token_id > 2"),)))
    return catalog


CLUSTERS = {"some": [*range(10, 66)], "all": [*range(70)], "one": [3], "broken": [12]}
STEPS = (0, 1, 2, 3, 5, 100, 30000, 65278)


def linked(cluster: str) -> tuple[Linked, list[int]]:
    """Return what linking a cluster must give, in numbers of its tokens, and these tokens."""
    tokens = CLUSTERS[cluster]
    return Linked(clumped()[tokens]), tokens


def asked(catalog: Path, query: str, *, shell: bool) -> list[tuple[Any, ...]]:
    """Return a query's rows of the bf16 model."""
    if shell:
        return [tuple(row.values()) for row in in_shell(catalog, f"set variable model = 'm'; {query};")]
    return rows(catalog, query, "m")


BOTH = pytest.mark.parametrize("shell", [False, True], ids=["python", "shell"])


@BOTH
@pytest.mark.parametrize("cluster", ["some", "all", "one"])
def test_neighbours_are_the_pairs_of_vectors_within_the_steps(clumps: Path, cluster: str, *, shell: bool) -> None:
    expected, tokens = linked(cluster)
    first = np.array([np.flatnonzero(row == 0)[0] for row in expected.apart])
    apart = np.abs(expected.points[:, None] - expected.points[None])
    ids = np.array(tokens)[expected.ids]
    for steps in STEPS:
        query = f"select token_id, other_token_id, linf, l1 from lattice_neighbors('{cluster}', {steps}) order by all"
        assert asked(clumps, query, shell=shell) == [
            (ids[i], ids[j], apart[i, j].max(), apart[i, j].sum())
            for i in range(len(ids))
            for j in range(i + 1, len(ids))
            if first[i] == i and first[j] == j and apart[i, j].max() <= steps
        ]


@BOTH
@pytest.mark.parametrize("cluster", ["some", "all", "one"])
def test_a_cluster_is_linked_in_the_canonical_order_at_every_number_of_steps(
    clumps: Path, cluster: str, *, shell: bool
) -> None:
    expected, tokens = linked(cluster)
    query = f"select token_id, lattice_order, lattice_steps from lattice_linkage('{cluster}') order by lattice_order"
    found = asked(clumps, query, shell=shell)
    leaves = [(tokens[leaf], steps) for leaf, steps in expected.leaves(1 << 17)]
    assert found == [(token, place, steps) for place, (token, steps) in enumerate(leaves)]
    for steps in {0, *(height for _, height in leaves if height)}:
        label = dict(zip(expected.ids, expected.component(steps), strict=True))
        assert runs(leaves, steps) == {tokens[token]: tokens[lowest] for token, lowest in label.items()}


@BOTH
@pytest.mark.parametrize("cluster", ["some", "all", "one"])
def test_components_are_those_of_all_pairs_label_by_label(clumps: Path, cluster: str, *, shell: bool) -> None:
    expected, tokens = linked(cluster)
    for steps in STEPS:
        query = f"select token_id, component, component_size from lattice_components('{cluster}', {steps}) order by all"
        component = expected.component(steps).tolist()
        assert asked(clumps, query, shell=shell) == [
            (tokens[token], tokens[lowest], component.count(lowest))
            for token, lowest in zip(expected.ids, component, strict=True)
        ]


@BOTH
def test_a_long_chain_is_one_component_whatever_the_order_of_its_tokens(tmp_path: Path, *, shell: bool) -> None:
    places = np.zeros((90, 4), dtype=np.int64)
    places[:, 2] = np.random.default_rng(2).permutation(90) * 3
    ingest_bare(tmp_path / "c", matrix(places), recipe=Recipe(clusters=(Cluster("all", "token_id >= 0"),)))
    for steps, n_components in ((2, 90), (3, 1)):
        query = f"select count(distinct component) from lattice_components('all', {steps})"
        assert asked(tmp_path / "c", query, shell=shell) == [(n_components,)]
    assert asked(tmp_path / "c", "select lattice_steps, count(*) from lattice_linkage('all') group by all order by all",
                 shell=shell) == [(3, 89), (None, 1)]  # fmt: skip


@BOTH
@pytest.mark.parametrize("token", [4, 12, 40, 69])
def test_a_flood_reaches_a_tokens_component_in_the_whole_vocabulary(clumps: Path, token: int, *, shell: bool) -> None:
    expected, _ = linked("all")
    for steps in (0, 1, 2):
        label = dict(zip(expected.ids, expected.component(steps), strict=True))
        reached = [(other,) for other, lowest in label.items() if lowest == label.get(token)]
        assert asked(clumps, f"select token_id from flood({token}, {steps})", shell=shell) == reached
        assert bool(reached) == (token != 12)  # which isn't finite


def test_text_stands_beside_the_tokens(clumps: Path) -> None:
    columns = {
        "lattice_neighbors('all', 2)": ["model", "token_id", "other_token_id", "text", "other_text", "linf", "l1"],
        "lattice_linkage('all')": ["model", "token_id", "text", "lattice_order", "lattice_steps"],
        "lattice_components('all', 2)": ["model", "token_id", "text", "component", "component_size"],
        "flood(3, 2)": ["model", "token_id", "text"],
    }
    for macro, names in columns.items():
        assert [name for name, *_ in rows(clumps, f"describe from {macro}", "m")] == names


def test_a_cluster_without_a_finite_row_has_no_points(clumps: Path) -> None:
    for macro in ("lattice_neighbors('broken', 2)", "lattice_components('broken', 2)", "lattice_linkage('broken')"):
        assert rows(clumps, f"from {macro}", "m") == []


ASKS = ("lattice_neighbors('all', 2)", "lattice_components('all', 2)", "lattice_linkage('all')", "flood(3, 2)")


@pytest.mark.parametrize("ask", ASKS)
def test_another_dtype_is_refused_and_named_and_can_be_left_out(clumps: Path, ask: str) -> None:
    for query in (f"from {ask}", f"select count(*) from {ask}"):
        refused = "full: is stored in fp32, and the lattice is that of bf16; set variable model = 'NAME' leaves others"
        assert refused in shell_run(clumps, f"{query};").stderr
        assert len(rows(clumps, query, "m")) > 0


@pytest.mark.parametrize("steps", ["-1", "1.5", "65279", "null", "'nan'::double"])
def test_what_is_no_number_of_steps_is_refused(clumps: Path, steps: str) -> None:
    for ask in (f"lattice_neighbors('all', {steps})", f"lattice_components('all', {steps})", f"flood(3, {steps})"):
        done = shell_run(clumps, f"set variable model = 'm'; select count(*) from {ask};")
        assert "is no number of lattice steps; give a whole one from 0 to 65278" in done.stderr


def test_a_cluster_that_is_not_there_is_refused(clumps: Path) -> None:
    for ask in ("lattice_neighbors('none', 2)", "lattice_components('none', 2)", "lattice_linkage('none')"):
        assert "has a cluster 'none'" in shell_run(clumps, f"select count(*) from {ask};").stderr


@pytest.mark.parametrize("token", ["-1", "99999", "NULL"])
def test_a_flood_from_a_token_that_no_model_has_is_refused(clumps: Path, token: str) -> None:
    done = shell_run(clumps, f"select count(*) from flood({token}, 1);")
    assert f"no model in view has a token {token}; token_ids are the rows of W, from 0" in done.stderr


def test_a_flood_past_what_was_linked_is_refused_with_the_way_out(clumps: Path) -> None:
    done = shell_run(clumps, "set variable model = 'm'; select count(*) from flood(3, 3);")
    assert (
        "m: its lattice is known up to 2 steps, and 3 are asked for; lattice_components(cluster_name, 3)" in done.stderr
    )


def test_more_vectors_than_are_compared_are_refused(clumps: Path) -> None:
    done = shell_run(clumps, "set variable model = 'm'; select count(*) from lattice_vectors('all', 10);")
    assert re.search(
        r"m: the cluster has \d+ different vectors, and all pairs are compared of 10 at most;", done.stderr
    )


def test_without_vectors_a_cluster_has_no_pairs_to_compare_and_a_flood_is_known(tmp_path: Path) -> None:
    recipe = Recipe(clusters=(Cluster("all", "token_id >= 0"),))
    ingest_bare(tmp_path / "c", clumped(), recipe=recipe, with_vectors=False)
    for ask in ASKS[:3]:
        refused = (
            "m: its rows aren't in the catalog (it was ingested with --no-vectors); ingest it again, with --replace"
        )
        assert refused in shell_run(tmp_path / "c", f"from {ask};").stderr
    assert rows(tmp_path / "c", "select count(*) > 1 from flood(4, 1)") == [(True,)]


def test_a_catalog_from_before_the_lattice_has_none_and_says_so(tmp_path: Path) -> None:
    ingest_bare(tmp_path / "c", clumped())
    (folder,) = (tmp_path / "c" / "models").glob("*/*")
    models = pq.read_table(folder / "models.parquet")
    pq.write_table(models.drop_columns(["lattice_most_steps"]), folder / "models.parquet")
    (folder / "lattice.parquet").unlink()
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.parquet")}
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"files": sizes, "columns": {}}))
    assert rebuild(tmp_path / "c").models == ["m"]
    assert rows(tmp_path / "c", "select lattice_most_steps from models") == [(None,)]
    assert rows(tmp_path / "c", "from lattice") == []
    done = shell_run(tmp_path / "c", "select count(*) from flood(3, 1);")
    assert "m: was ingested by a version without a lattice; ingest it again, with --replace" in done.stderr


def test_in_several_models_each_is_linked_by_itself(tmp_path: Path) -> None:
    recipe = Recipe(clusters=(Cluster("all", "token_id >= 0"),))
    made = {"a": clumped(), "b": clumped()[:40], "c": clumped()[30:]}
    for name, W in made.items():
        ingest_bare(tmp_path / "c", W, name, recipe=recipe)
    for ask in (*ASKS[:3], "flood(4, 1)"):
        together = rows(tmp_path / "c", f"from {ask} order by all")
        assert together == [row for name in made for row in rows(tmp_path / "c", f"from {ask} order by all", name)]
        assert {row[0] for row in together} == {*made}


def test_two_vectors_beside_a_model_of_many_are_compared_too(tmp_path: Path) -> None:
    """Of 602 vectors every second is in the sample that chooses dimensions, so neither of the small model's pair."""
    many = Recipe(clusters=(Cluster("all", "true"),))
    ingest_bare(tmp_path / "c", bf16_matrix(600, 4), "a", recipe=many)
    few = Recipe(clusters=(Cluster("all", "token_id < 2"),))
    near = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0078125], [5.0, 6.0, 7.0]]).to(torch.bfloat16)
    ingest_bare(tmp_path / "c", near, "b", recipe=few)
    query = "select token_id, other_token_id, linf, l1 from lattice_neighbors('all', 1) where model = 'b'"
    assert rows(tmp_path / "c", query) == [(0, 1, 1, 1)]
