"""The views of series, against every step beside the one before it in exact fractions: two series, roles, matrices.

`run` is of bf16, with a step left out, and a role `m` at some of its steps; `pair` is untied, and one of its matrices
changes its dtype; `blind` has a step without vectors; `alone` and `other` are in no series; `shuffled` has few
different rows, so that groups meet in every way.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.support import oracle_series as oracle
from tests.support.helpers import answers, ingest_bare, rows
from tests.support.oracle_lattice import coordinates, value
from tests.support.oracle_linkage import distance_matrix, lowest_in_component
from tests.support.series import N_DIMS, N_TOKENS, members, put_in_series, shuffled, write_series
from token_catalog.catalog.publish import rebuild
from token_catalog.catalog.state import table_files
from token_catalog.ingest.recipe.recipe import LinkageDistances
from token_catalog.queries.session import connected

THRESHOLD = 0.02
Key = tuple[str, str | None, str | None]
VIEWS = ("series_steps", "series_tokens", "series_summary", "freezing", "merges")
OF_KEY = "series = $1 and role is not distinct from $2 and matrix is not distinct from $3"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of the series above. Read it only."""
    catalog = tmp_path_factory.mktemp("series") / "c"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("token_catalog.catalog.definitions.definitions", list)  # but for the last, which builds all
        for name, (W, _) in members().items():
            linked = LinkageDistances(2 * THRESHOLD, THRESHOLD)
            ingest_bare(catalog, W, name, asked=linked, with_vectors=name != "blind@1")
        put_in_series(catalog, {name: told for name, (_, told) in members().items() if told})
        write_series(catalog, "shuffled", shuffled())
    rebuild(catalog)
    return catalog


def sequences() -> Iterator[tuple[Key, dict[int, tuple[str, torch.Tensor]]]]:
    """Give each sequence of steps: (series, role, matrix), and the matrices by step, in order."""

    def key(told: Mapping[str, Any]) -> Key:
        return told["series"], told.get("role"), told.get("matrix")

    in_series = [(key(told), told["step"], name, W) for name, (W, told) in members().items() if told]
    for of_key, group in groupby(sorted(in_series, key=lambda one: str(one[0])), key=lambda one: one[0]):
        yield of_key, {step: (name, W) for _, step, name, W in sorted(group, key=lambda one: one[1])}


SEQUENCES = dict(sequences())
of_each_sequence = pytest.mark.parametrize("key", SEQUENCES, ids=[str(key) for key in SEQUENCES])


def asked(catalog: Path, query: str, key: Sequence[object]) -> list[tuple[Any, ...]]:
    """Return a query's rows, asked of one sequence, say."""
    with connected(catalog) as connection:
        return connection.execute(query, list(key)).fetchall()


def stored(W: torch.Tensor) -> list[list[float]]:
    """Return the values of a matrix."""
    return W.double().tolist()


def steps_of(key: Key) -> list[list[list[float]]]:
    """Return the values of each of a sequence's matrices."""
    return [stored(W) for _, W in SEQUENCES[key].values()]


def moved(key: Key) -> Iterator[tuple[int, list[tuple[float | None, bool | None]]]]:
    """Give each step, with the movement of each row and whether it changed, where both are in `vectors`."""
    nothing: list[tuple[float | None, bool | None]] = [(None, None)] * N_TOKENS
    matrices = steps_of(key)
    for number, step in enumerate(SEQUENCES[key]):
        known = number > 0 and key[0] != "blind"
        pairs = zip(matrices[number - 1], matrices[number], strict=True) if known else ()
        yield step, [(oracle.distance(a, b), oracle.changed(a, b)) for a, b in pairs] or nothing


def test_there_are_two_roles_two_matrices_and_a_step_left_out(catalog: Path) -> None:
    found = rows(
        catalog, "select series, role, matrix, step, step_number, previous_model, previous_step from series_steps"
    )
    expected = []
    for key, steps in SEQUENCES.items():
        before: tuple[str | None, int | None] = (None, None)
        for number, (step, (name, _)) in enumerate(steps.items(), 1):
            expected.append((*key, step, number, *before))
            before = (name, step)
    assert sorted(map(str, expected)) == sorted(str(row) for row in found if row[0] != "shuffled")
    assert ("run", None, None, 400, 4, "run@200", 200) in found


@of_each_sequence
def test_movements_are_those_of_exact_arithmetic_and_zero_where_no_value_differs(catalog: Path, key: Key) -> None:
    found = asked(
        catalog, f"select step, movement, changed from series_tokens where {OF_KEY} order by step, token_id", key
    )
    expected = [(step, *row) for step, token in moved(key) for row in token]
    assert [row[::2] for row in found] == [row[::2] for row in expected]
    for (_, distance, changed), (_, exact, _) in zip(found, expected, strict=True):
        assert distance == (None if exact is None else pytest.approx(exact, rel=(N_DIMS + 8) * 2.0**-53, abs=0))
        assert changed == (None if distance is None else distance > 0)


@of_each_sequence
def test_movements_in_lattice_steps_are_those_of_all_values_in_their_order(catalog: Path, key: Key) -> None:
    found = asked(catalog, f"select movement_steps from series_tokens where {OF_KEY} order by step, token_id", key)
    expected: list[int | None] = [None] * N_TOKENS
    for before, W in pairwise([W for _, W in SEQUENCES[key].values()]):
        if key[0] == "blind" or not before.dtype == W.dtype == torch.bfloat16:
            expected += [None] * N_TOKENS
            continue
        for pair in zip(stored(before), stored(W), strict=True):
            expected.append(most_apart(*map(coordinates, pair)))
    assert [row[0] for row in found] == expected
    assert key != ("run", None, None) or (0 in expected and max(filter(None, expected)) > 30_000)  # a sign that flips


def test_steps_are_those_of_every_pattern_of_bits(catalog: Path) -> None:
    patterns = np.random.default_rng(0).integers(0, 1 << 16, (200, 2, 8))
    pairs = [[[value(int(bits)) for bits in row] for row in pair] for pair in patterns]
    pairs = [pair for pair in pairs if all(map(oracle.is_finite, pair))]
    found = asked(catalog, "select [steps_moved(pair[1], pair[2]) for pair in $1::float[][][]]", (pairs,))
    assert found == [([most_apart(*map(coordinates, pair)) for pair in pairs],)]
    assert len(pairs) > 150


def most_apart(a: list[int] | None, b: list[int] | None) -> int | None:
    """Return the largest difference of the coordinates of two rows; None where one isn't finite."""
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) if a and b else None


@of_each_sequence
def test_a_token_has_the_features_of_each_step(catalog: Path, key: Key) -> None:
    columns = ["token_id", "norm", "x", "y", "z", "lat", "lon", "duplicate_of", "duplicate_count", "component"]
    found = asked(
        catalog, f"select {', '.join(columns)} from series_tokens where {OF_KEY} order by step, token_id", key
    )
    expected = []
    for name, W in SEQUENCES[key].values():
        (file,) = table_files(catalog, "features", name)
        expected += [tuple(row.values()) for row in pq.read_table(file, columns=columns).to_pylist()]
        lowest = {token: min(equal) for token, equal in oracle.places(stored(W)).items()}
        finite = [token for token, row in enumerate(stored(W)) if oracle.is_finite(row)]
        near = distance_matrix(np.array(stored(W))[finite]) < THRESHOLD
        component = np.array(finite)[lowest_in_component(near)].tolist()
        for token, row in enumerate(expected[-N_TOKENS:]):
            assert row[7] == (lowest[token] if token in finite else None)
            assert row[9] == (component[finite.index(token)] if token in finite else None)
            squares = math.sqrt(sum(x * x for x in stored(W)[token])) if token in finite else None
            assert row[1] == (None if squares is None else pytest.approx(squares, rel=1e-14))
    assert found == expected


@of_each_sequence
def test_a_step_is_summed_up_as_all_its_tokens_are(catalog: Path, key: Key) -> None:
    found = asked(
        catalog,
        "select step, n_tokens, n_finite, n_groups, n_duplicates, n_components, largest_component, share_frozen, "
        f"radius, mean_norm, mean_movement, largest_movement from series_summary where {OF_KEY} order by step",
        key,
    )
    for row, W, (step, tokens) in zip(found, steps_of(key), moved(key), strict=True):
        groups = {place for place in oracle.places(W).values() if len(place) > 1}
        finite = [numbers for numbers in W if oracle.is_finite(numbers)]
        sizes = np.unique(lowest_in_component(distance_matrix(np.array(finite)) < THRESHOLD), return_counts=True)[1]
        assert row[:5] == (step, N_TOKENS, len(finite), len(groups), sum(map(len, groups)))
        assert row[5:7] == ((sizes > 1).sum(), sizes.max())
        changes = [changed for _, changed in tokens if changed is not None]
        distances = [distance for distance, _ in tokens if distance is not None]
        norms = [math.hypot(*numbers) for numbers in finite]
        frozen = changes.count(False) / len(changes) if changes else None
        means = [frozen, oracle.from_mean(W), np.mean(norms)]
        means += [np.mean(distances), max(distances)] if distances else [None, None]
        assert list(row[7:]) == [value if value is None else pytest.approx(value, rel=1e-11) for value in means]


@of_each_sequence
def test_the_centroid_goes_the_way_of_the_exact_means(catalog: Path, key: Key) -> None:
    found = asked(
        catalog,
        f"select centroid, centroid_movement, centroid_from_first from series_summary where {OF_KEY} order by step",
        key,
    )
    means = [[float(number) for number in oracle.mean(W)] for W in steps_of(key)]
    for number, (centroid, movement, from_first) in enumerate(found):
        assert centroid == pytest.approx(means[number], rel=1e-13)
        past = oracle.distance(means[number - 1], means[number]) if number else None
        scale = 1e-14 * max(map(abs, means[number]))
        assert movement == (None if past is None else pytest.approx(past, rel=1e-12, abs=scale))
        assert from_first == pytest.approx(oracle.distance(means[0], means[number]), rel=1e-12, abs=scale)


@of_each_sequence
def test_a_row_is_frozen_from_its_last_change(catalog: Path, key: Key) -> None:
    found = asked(
        catalog,
        f"select token_id, frozen_from, n_steps_frozen, n_changes from freezing where {OF_KEY} order by token_id",
        key,
    )
    steps = list(SEQUENCES[key])
    changes = [[changed for _, changed in tokens] for _, tokens in moved(key)][1:]
    expected = [(token, *oracle.frozen([step[token] for step in changes], steps)) for token in range(N_TOKENS)]
    assert found == expected


def test_what_changed_at_the_last_step_isnt_finite_or_never_changed(catalog: Path) -> None:
    """Tokens 1 and 5 never change, but for the sign of a 0; 15 changes to the last; 7 was NaN, 14 has an infinity."""
    query = "select token_id, frozen_from, n_changes from freezing where series = 'run' and role is null"
    found = {token: tuple(row) for token, *row in rows(catalog, query)}
    assert (found[1], found[5]) == ((0, 0), (0, 0))
    assert found[3] == (100, 1)
    assert found[15][0] is None
    assert found[7] == (400, 1)
    assert found[14] == (None, 0)


@of_each_sequence
def test_merges_are_what_became_of_every_group(catalog: Path, key: Key) -> None:
    expected = [
        (step, *event)
        for (before, after), step in zip(pairwise(steps_of(key)), list(SEQUENCES[key])[1:], strict=True)
        for event in oracle.events(before, after)
    ]
    assert merges(catalog, key) == sorted(expected)


def test_merges_are_right_where_groups_meet_in_every_way(catalog: Path) -> None:
    matrices = {step: W.tolist() for step, W in shuffled().items()}
    expected = [
        (after, *event)
        for before, after in pairwise(matrices)
        for event in oracle.events(matrices[before], matrices[after])
    ]
    assert merges(catalog, ("shuffled", None, None)) == sorted(expected)
    met = {(event, n_alone > 0, len(others)) for _, event, _, n_alone, others, _ in expected}
    assert met >= {("joined", False, 2), ("joined", True, 1), ("split", True, 1), ("split", False, 2)}
    assert met >= {("gone", True, 1), ("gone", True, 0), ("born", True, 0)}


def merges(catalog: Path, key: Key) -> list[tuple[Any, ...]]:
    """Return the events of a sequence, sorted."""
    query = f"select step, event, duplicate_of, n_alone, other_groups, token_ids, n_tokens from merges where {OF_KEY}"
    found = asked(catalog, query, key)
    assert [row[-1] for row in found] == [len(row[-2]) for row in found]
    return sorted(row[:-1] for row in found)


def test_what_is_in_no_series_is_in_no_view(catalog: Path) -> None:
    for view in VIEWS:
        assert {name for (name,) in rows(catalog, f"select distinct series from {view}")} <= {
            "run",
            "pair",
            "blind",
            "shuffled",
        }


def test_narrowed_to_one_step_there_is_none_before(catalog: Path) -> None:
    """What is out of view is no step before."""
    ((n_tokens, n_moved),) = rows(catalog, "select count(*), count(changed) from series_tokens", "run@400")
    assert (n_tokens, n_moved) == (N_TOKENS, 0)
    assert rows(catalog, "select step, previous_step from series_steps", "run@400") == [(400, None)]
    assert rows(catalog, "from merges", "run@400") == []
    assert rows(catalog, "select distinct frozen_from from freezing", "run@400") == [(None,)]
    for view in VIEWS:
        assert rows(catalog, f"from {view}", "alone") == []


def test_narrowed_to_a_series_it_is_whole(catalog: Path) -> None:
    for view in VIEWS:
        of_all = rows(catalog, f"from {view} where series = 'run' order by all")
        with connected(catalog) as connection:
            connection.execute("set variable series = 'run'")
            assert connection.execute(f"from {view} order by all").fetchall() == of_all


def scans_of_vectors(plan: Any) -> int:
    """Return how often a plan reads the column `vector` from files."""
    reads = "vector" in plan.get("extra_info", {}).get("Projections", []) and not plan["children"]
    return reads + sum(map(scans_of_vectors, plan.get("children", [])))


def test_vectors_are_read_once_and_only_where_a_movement_is_asked_for(catalog: Path) -> None:
    with connected(catalog) as connection:
        for query, times in {
            "from series_tokens": 1,
            "from series_summary": 1,
            "from freezing": 1,
            "select changed from series_tokens where series = 'run' and step = 100": 1,
            "select text, norm, lat, lon, duplicate_of, component_size from series_tokens": 0,
            "select centroid_movement, radius, n_groups from series_summary": 0,
            "from merges": 0,
        }.items():
            ((_, plan),) = connection.execute(f"explain (format json) {query}").fetchall()
            assert sum(map(scans_of_vectors, json.loads(plan))) == times, query


def test_the_shell_answers_as_python_does(catalog: Path) -> None:
    queries = [f"select count(*) as n_rows, count(distinct columns(*)) from {view}" for view in VIEWS]
    found = [tuple(row.values()) for (row,) in answers(catalog, "".join(f"{query};" for query in queries))]
    assert found == [row for query in queries for row in rows(catalog, query)]
