"""Macros of points, pairs and exponents, in the real shell and in Python, with answers by hand and naive references."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import connected_components

from tests.support.helpers import in_shell, ingest_bare, rows, shell_run

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of bf16 rows, `m`; of equal rows in fp32, `single`; and of no equal rows, `different`."""
    catalog = tmp_path_factory.mktemp("graphs") / "c"
    few = [[1, 0], [1.5, 2.0**-133], [2, -0.0], [-0.5, 2.0**-126], [INF, 0], [NAN, 0], [4, 2.0**-125]]
    # 4.0 stands three times, from token 6 on; 1.0 twice, from token 0 on, and 2.0 three times, from 2 on.
    W = torch.tensor([*few, few[6], few[2], few[0], few[6], few[2]]).bfloat16()
    ingest_bare(catalog, torch.nn.functional.pad(W, (0, 1), value=1.0), "m")
    ingest_bare(catalog, torch.tensor([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.3, 0.4, 0.6]]), "single")
    ingest_bare(catalog, torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 7.0], [5.0, 6.5, 1.0]]).bfloat16(), "different")
    return catalog


def points_of(numbers: list[list[float]], **more: list[int]) -> str:
    """Return a list of points in SQL, with ids from 10 on."""
    structs = []
    for i, of_one in enumerate(numbers):
        others = "".join(f", {name} := {values[i]}" for name, values in more.items())
        structs.append(f"struct_pack(model := 'a', id := {10 + i}, numbers := {of_one}::double[]{others})")
    return f"[{', '.join(structs)}]"


def pairs_of(edges: dict[tuple[int, int], float | None]) -> str:
    """Return a list of pairs in SQL."""
    pack = "struct_pack(model := 'a', id := {}, other_id := {}, distance := {}::double)"
    return f"[{', '.join(pack.format(a, b, 'null' if d is None else d) for (a, b), d in edges.items())}]"


# --- pairs and their linkage


def test_pairs_of_points_are_measured_in_four_ways(catalog: Path) -> None:
    asked = f"from pairs_of_points({points_of([[0, 0, 1], [3, 4, 1], [0, -0.0, 1]])})"
    expected = [("a", 10, 11, 4, 7, 5, 2), ("a", 10, 12, 0, 0, 0, 0), ("a", 11, 12, 4, 7, 5, 2)]
    assert rows(catalog, asked) == expected
    assert [tuple(row.values()) for row in in_shell(catalog, f"{asked};")] == expected


def test_points_of_several_models_are_compared_within_each_and_of_one_or_none_there_are_no_pairs(catalog: Path) -> None:
    pack = "struct_pack(model := '{}', id := {}, numbers := [{}])"
    points = ", ".join(pack.format(*point) for point in (("b", 1, 5.0), ("a", 2, 1.0), ("b", 0, 7.0), ("a", 1, 1.5)))
    found = rows(catalog, f"select model, id, other_id, linf from pairs_of_points([{points}])")
    assert found == [("a", 1, 2, 0.5), ("b", 0, 1, 2.0)]
    assert rows(catalog, f"from pairs_of_points({points_of([[1.0]])})") == []
    assert rows(catalog, "from pairs_of_points((select list(s) from (select struct_pack(model := 'a', id := 1, "
                         "numbers := [1.0]) as s) where s.id = 2))") == []  # fmt: skip


def test_whole_numbers_are_compared_exactly(catalog: Path) -> None:
    """2⁵³ - 1 in all, by two thirds and 1: a sum that isn't compensated would lose the ones."""
    apart = [2.0**52, *[1.0] * 7, 2.0**52 - 8]
    found = rows(catalog, f"select l1, linf from pairs_of_points({points_of([apart, [0.0] * 9])})")
    assert found == [(2.0**53 - 1, 2.0**52)]


def test_points_are_linked_nearest_first_and_what_no_edge_joins_begins_anew(catalog: Path) -> None:
    """1-3 are 2 apart, 3-2 1, 1-2 5, 4-5 1; 2-4 is no edge. From 1 to 3, to 2; then anew to 4, to 5."""
    edges = {(1, 3): 2.0, (2, 3): 1.0, (1, 2): 5.0, (2, 4): None, (4, 5): 1.0}
    expected = [("a", 1, 1, None), ("a", 3, 2, 2.0), ("a", 2, 3, 1.0), ("a", 4, 4, None), ("a", 5, 5, 1.0)]
    assert rows(catalog, f"from linkage_of({pairs_of(edges)})") == expected
    assert [tuple(row.values()) for row in in_shell(catalog, f"from linkage_of({pairs_of(edges)});")] == expected


@pytest.mark.parametrize("seed", range(6))
def test_components_at_every_distance_are_runs_of_the_linkage(catalog: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    n = 12
    edges: dict[tuple[int, int], float | None] = {
        (a, b): float(generator.integers(1, 9)) for a in range(n) for b in range(a + 1, n) if generator.random() < 0.2
    }
    edges |= {(i, i + 1): edges.get((i, i + 1)) for i in range(n - 1)}
    found = rows(catalog, f"select id, height from linkage_of({pairs_of(edges)}) order by linkage_place")
    assert sorted(i for i, _ in found) == list(range(n))
    for most in range(9):
        graph = np.zeros((n, n))
        for pair, distance in edges.items():
            graph[pair] = distance is not None and distance <= most
        labels = connected_components(graph, directed=False)[1]
        runs = np.cumsum([height is None or height > most for _, height in found])
        assert len({(run, labels[i]) for run, (i, _) in zip(runs, found, strict=True)}) == len(set(labels)) == runs[-1]


def test_points_spread_in_as_many_directions_as_their_covariance_says(catalog: Path) -> None:
    cross = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    ones = points_of(cross, n_tokens=[1, 1, 1, 1])
    assert rows(catalog, f"select participation_ratio_of({ones})") == [(pytest.approx(2.0, rel=1e-14),)]
    generator = np.random.default_rng(0)
    numbers, counts = generator.standard_normal((7, 5)), [1, 4, 2, 1, 1, 3, 9]
    eigenvalues = np.linalg.eigvalsh(np.cov(numbers, rowvar=False, fweights=counts))
    ((found,),) = rows(catalog, f"select participation_ratio_of({points_of(numbers.tolist(), n_tokens=counts)})")
    assert found == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), rel=1e-12)
    assert rows(catalog, f"select participation_ratio_of({points_of([[1], [1]], n_tokens=[1, 2])})") == [(None,)]


# --- duplicates and exponents


def test_shared_vectors_go_by_how_many_tokens_share_them_and_then_by_the_lowest(catalog: Path) -> None:
    found = rows(catalog, "select group_rank, token_id, n_tokens, vector[1] from duplicate_vectors", "m")
    assert found == [(1, 2, 3, 2.0), (2, 6, 3, 4.0), (3, 0, 2, 1.0)]
    assert rows(catalog, "select largest_group_token()", "m") == [(2,)]
    assert rows(catalog, "select largest_group_token()", "different") == [(None,)]
    assert "largest_group_token: several models in view" in shell_run(catalog, "select largest_group_token();").stderr


def test_exponents_of_zero_and_subnormals_are_0_and_rows_that_are_not_finite_have_no_distance(catalog: Path) -> None:
    """Exponent fields from token 0's (127, 0): of 1.5 127, of 2.0 128, of 0.5 126; 0, 0, and 1 of 2⁻¹²⁶."""
    asked = "select token_id, exponent_distance from exponent_neighborhood(0, {}) order by token_id"
    assert rows(catalog, asked.format(0), "m") == [(0, 0), (1, 0), (9, 0)]
    expected = [(0, 0), (1, 0), (2, 1), (3, 1), (6, 2), (7, 2), (8, 1), (9, 0), (10, 2), (11, 1)]
    assert rows(catalog, asked.format(255), "m") == expected
    assert rows(catalog, asked.format(1), "m") == [pair for pair in expected if pair[1] <= 1]
    assert in_shell(catalog, f"set variable model = 'm'; {asked.format(0)};")[1] == {
        "token_id": 1,
        "exponent_distance": 0,
    }
    assert rows(catalog, "from exponent_neighborhood(99, 5)", "m") == []


def test_exponents_past_the_first_128_dimensions_count(tmp_path: Path) -> None:
    W = torch.ones(3, 130).bfloat16()
    W[1, 129], W[2, 3] = 4.0, 0.25
    ingest_bare(tmp_path / "c", W)
    asked = "select token_id, exponent_distance from exponent_neighborhood(0, {}) order by token_id"
    assert rows(tmp_path / "c", asked.format(1)) == [(0, 0)]
    assert rows(tmp_path / "c", asked.format(2)) == [(0, 0), (1, 2), (2, 2)]


def test_what_is_of_bf16_rows_refuses_others_and_says_how_to_round_them(catalog: Path) -> None:
    for asked in ("exponent_neighborhood(0, 5)", "neighborhood_vectors(5)", "group_pairs()", "own_ulp_flood([0])"):
        done = shell_run(catalog, f"set variable model = 'single'; from {asked};")
        assert "is no bfloat16 value" in done.stderr, asked
        assert "bf16_list(…) rounds a list to ones first" in done.stderr


def test_neighbours_in_own_last_bits_are_counted_over_exponents_as_the_study_does(tmp_path: Path) -> None:
    """In units: 130, 131, 133 and 136 are 1, 2 and 3 apart; 260 is 130 of the next exponent's, and so 0 from 130."""
    units: list[Any] = [[x / 128, 1.0, 1.0] for x in (130, 131, 133, 136, 260)]
    ingest_bare(tmp_path / "c", torch.tensor(units).bfloat16())
    found = rows(tmp_path / "c", "select token_id, other_token_id, own_ulps from own_ulp_neighbors([0], 3)")
    assert found == [(0, 1, 1), (0, 2, 3), (0, 4, 0)]
    assert rows(tmp_path / "c", "select token_id from own_ulp_flood([0])") == [(0,), (1,), (4,)]
    assert rows(tmp_path / "c", "select token_id from own_ulp_flood([3])") == [(3,)]
    assert rows(tmp_path / "c", "from own_ulp_flood([])") == []
