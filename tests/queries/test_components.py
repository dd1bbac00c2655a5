"""The views and the macro of linkage, in the real DuckDB shell, on matrices whose components are known by hand."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.support.helpers import LITTLE_MEMORY, MINILM, in_shell, ingest_bare, rows, shell_run
from token_catalog.catalog.publish import rebuild
from token_catalog.ingest.recipe.recipe import LinkageDistances
from token_catalog.ingest.relink import relink


def on_a_line(*places: float) -> torch.Tensor:
    """Return rows on a line: their distances are differences of places; far tokens keep the components apart."""
    W = torch.zeros(len(places), 4)
    W[:, 1] = torch.tensor(places)
    return W


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of `a`, with a chain of five rows (two equal), a pair, and single ones; and of a small `b`.

    a:  token  0  1  2  3  4   5  6   7    8
        place  0  1  3  3  6  20 21  40  NaN       linked up to 10, components at 4
    """
    catalog = tmp_path_factory.mktemp("line") / "c"
    ingest_bare(catalog, on_a_line(0, 1, 3, 3, 6, 20, 21, 40, math.nan), "a", asked=LinkageDistances(10, 4))
    ingest_bare(catalog, on_a_line(0, 1, 2.5), "b", asked=LinkageDistances(2, 1))
    return catalog


def test_components_tell_size_edges_diameter_and_gap(line: Path) -> None:
    """Edges below 4 of the chain: 0-1, 0-2, 0-3, 1-2, 1-3, 2-3, 2-4, 3-4. From 6 to 20 is past the radius."""
    found = in_shell(line, "set variable model = 'a'; from components order by component;")
    assert found == [
        {
            "model": "a",
            "component": 0,
            "n_tokens": 5,
            "n_vectors": 4,
            "n_edges": 8,
            "diameter": 6.0,
            "gap": None,
            "component_rank": 1,
        },
        {
            "model": "a",
            "component": 5,
            "n_tokens": 2,
            "n_vectors": 2,
            "n_edges": 1,
            "diameter": 1.0,
            "gap": None,
            "component_rank": 2,
        },
    ]


def test_a_gap_is_the_lesser_of_the_two_beside_a_component(tmp_path: Path) -> None:
    """Places 0 1 | 4 5 | 7 8 in three components at 1.5: gaps 3, 2 and 2; token 6, at 12, is alone."""
    ingest_bare(tmp_path / "c", on_a_line(0, 1, 4, 5, 7, 8, 12), asked=LinkageDistances(20, 1.5))
    assert rows(tmp_path / "c", "select component, gap from components order by component") == [(0, 3), (2, 2), (4, 2)]


def test_voids_are_the_gaps_between_merges_of_the_largest_component(line: Path) -> None:
    """Merges at 0 (equal rows), 1, 2 and 3, then none up to the radius, 10: 3, 4 and 5 tokens stand below."""
    found = rows(line, "select below, above, ratio, n_tokens_below from voids", "a")
    assert found == [(3, None, pytest.approx(10 / 3), 5), (1, 2, 2, 3), (2, 3, 1.5, 4)]


def test_the_last_void_ends_at_the_nearest_token_outside(tmp_path: Path) -> None:
    ingest_bare(tmp_path / "c", on_a_line(0, 1, 2, 5), asked=LinkageDistances(20, 1.5))
    assert rows(tmp_path / "c", "select below, above, ratio, n_tokens_below from voids") == [(1, 3, 3, 3)]


def test_of_components_as_large_the_lowest_is_the_largest(tmp_path: Path) -> None:
    ingest_bare(tmp_path / "c", on_a_line(10, 11, 0, 2), asked=LinkageDistances(5, 3))
    assert rows(tmp_path / "c", "select below from voids") == [(1,)]
    assert rows(tmp_path / "c", "select component, component_rank from components") == [(0, 1), (2, 2)]
    largest = "select token_id from cluster_members where cluster = 'largest-component' order by token_id"
    assert rows(tmp_path / "c", largest) == [(0,), (1,)]


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        (0, [0, 1, 2, 3, 4, 5, 6, 7]),
        (1e-300, [0, 1, 2, 2, 4, 5, 6, 7]),
        (1, [0, 1, 2, 2, 4, 5, 6, 7]),
        (1.0000001, [0, 0, 2, 2, 4, 5, 5, 7]),
        (2.5, [0, 0, 0, 0, 4, 5, 5, 7]),
        (10, [0, 0, 0, 0, 0, 5, 5, 7]),
    ],
)
def test_components_at_any_distance_joins_what_is_strictly_nearer(
    line: Path, distance: float, expected: list[int]
) -> None:
    found = in_shell(line, f"set variable model = 'a'; from components_at({distance}) order by token_id;")
    assert [row["component"] for row in found] == expected  # but for row 8, which isn't finite
    assert [row["component_size"] for row in found] == [expected.count(component) for component in expected]
    assert list(found[0]) == ["model", "token_id", "text", "component", "component_size"]


def test_components_at_the_threshold_are_the_features(minilm: Path) -> None:
    query = """
        select count(*) from components_at((select linkage_threshold from models)) as c
        inner join features as f using (model, token_id)
        where (c.component, c.component_size) = (f.component, f.component_size)
    """
    assert rows(minilm, query) == [(30522,)]


def test_components_at_covers_every_model_in_view(line: Path) -> None:
    found = rows(line, "select model, count(distinct component) from components_at(1.5) group by model order by model")
    assert found == [("a", 5), ("b", 2)]


@pytest.mark.parametrize("distance", ["-1", "null", "'nan'::double", "'-infinity'::double"])
def test_what_is_no_distance_is_refused(line: Path, distance: str) -> None:
    done = shell_run(line, f"select count(*) from components_at({distance});")
    assert " is no distance; give one of 0 or more" in done.stderr


@pytest.mark.parametrize(("distance", "named"), [("2.5", "b"), ("'infinity'::double", "[ab]")])
def test_components_past_the_radius_of_any_model_in_view_are_an_error_with_the_way_out(
    line: Path, distance: str, named: str
) -> None:
    done = shell_run(line, f"select count(*) from components_at({distance});")
    assert re.search(f"{named}: linked up to (2|10).0, so there are no components at", done.stderr)
    assert re.search(f"`token-catalog relink {named} --radius R` links further", done.stderr)


def test_the_dead_component_of_minilm_is_known_at_every_distance(minilm: Path) -> None:
    """The published counts of tokens, and of `[unusedN]` among them."""
    for distance, n_tokens, n_unused in ((0.3, 1737, 993), (0.27, 1603, 993), (0.25, 1341, 908)):
        query = f"""
            select count(*), count(*) filter (where t.kind = 'unused')
            from components_at({distance}) as c
            inner join tokens as t using (model, token_id)
            where c.component = (select component from components_at({distance}) where token_id = 505)
        """
        assert rows(minilm, query) == [(n_tokens, n_unused)]


def test_components_at_joins_nothing_by_the_model_alone(minilm: Path) -> None:
    """With the variable set, DuckDB 1.5 once began with all pairs of a component and a token, 850 million."""
    query = "select count(*) as n, max(component_size) as largest from components_at(0.25);"
    found = in_shell(minilm, f"{LITTLE_MEMORY} set variable model = '{MINILM}'; {query}")
    assert found == [{"n": 30522, "largest": 1341}]


def test_a_catalog_without_linkage_says_so(tmp_path: Path) -> None:
    """An older version of the product wrote neither its columns nor its table."""
    ingest_bare(tmp_path / "c", on_a_line(0, 1, 2))
    (folder,) = (tmp_path / "c" / "models").glob("*/*")
    linkage = re.compile("component|n_neighbors|nn_|linkage_")
    for name in ("features", "models"):
        table = pq.read_table(folder / f"{name}.parquet")
        pq.write_table(
            table.drop_columns([c for c in table.column_names if linkage.match(c)]), folder / f"{name}.parquet"
        )
    (folder / "component_diameters.parquet").unlink()
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.parquet")}
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"files": sizes, "columns": {}}))
    assert rebuild(tmp_path / "c").models == ["m"]
    for query in ("from components_at(1);", "select count(*) from components_at(1);"):
        assert "m: linked up to no distance, so there" in shell_run(tmp_path / "c", query).stderr
    assert rows(tmp_path / "c", "from components") == []
    assert rows(tmp_path / "c", "from voids") == []
    relink(tmp_path / "c", "m", LinkageDistances(3, 2))
    assert rows(tmp_path / "c", "select component, n_tokens from components") == [(0, 3)]


def test_all_rows_equal_are_one_component_without_a_void(tmp_path: Path) -> None:
    ingest_bare(tmp_path / "c", torch.ones(5, 3))
    found = rows(tmp_path / "c", "select component, n_tokens, n_vectors, n_edges, diameter, gap from components")
    assert found == [(0, 5, 1, 10, 0, None)]
    assert rows(tmp_path / "c", "from voids") == []


def naive_components(places: list[float], distance: float) -> list[int]:
    """Return the lowest index reachable by steps shorter than the distance, for each place."""
    component = list(range(len(places)))
    for _ in places:
        for i, j in np.ndindex(len(places), len(places)):
            if abs(places[i] - places[j]) < distance:
                component[i] = min(component[i], component[j])
    return component


def test_equal_rows_are_not_the_largest_component_of_voids_however_many(tmp_path: Path) -> None:
    """Five equal rows have no merge that a void could follow: the chain of three has two, at 1 and 3."""
    ingest_bare(tmp_path / "c", on_a_line(50, 50, 50, 50, 50, 0, 1, 4), asked=LinkageDistances(20, 5))
    assert rows(tmp_path / "c", "select component, n_tokens from components") == [(0, 5), (5, 3)]
    found = rows(tmp_path / "c", "select below, above, ratio, n_tokens_below from voids")
    assert found == [(3, None, pytest.approx(20 / 3), 3), (1, 3, 3, 2)]


def test_components_equal_a_naive_walk_on_random_places(tmp_path: Path) -> None:
    places = np.random.default_rng(3).integers(0, 200, 40).astype(float).tolist()
    ingest_bare(tmp_path / "c", on_a_line(*places), asked=LinkageDistances(50, 5))
    for distance in (0.5, 1, 2, 3, 5, 8, 50):
        found: list[tuple[Any, ...]] = rows(
            tmp_path / "c", f"select component from components_at({distance}) order by token_id"
        )
        assert [component for (component,) in found] == naive_components(places, distance)
