"""The further figures' own computation, which the queries are held against: its tricky parts, with answers by hand.

Values are written in units: 128 to 255 times 2⁻⁷ are the bf16 from 1 to 2, whose bits are 0x3f80 to 0x3fff.
"""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.bf16_rows import Rows, bits_of, lattice, over_pairs, own_ulps, pairs_of
from tests.support.further_extents import (
    component_figures,
    dimension_figures,
    extent_figures,
    face_figures,
    farthest_pair,
    gap_figures,
    shell_figures,
)
from tests.support.further_lattice import (
    Places,
    Vocabulary,
    connection,
    exponent_figures,
    flood_figures,
    graph_figures,
    group_distance_figures,
    group_figures,
    largest_group_figures,
    neighbourhood_figures,
    oort_figures,
    spread_figures,
)
from tests.support.replica import Replica
from tests.support.replica_figures import FURTHER, Matrix, Value, write_table
from tests.support.replica_layout import GROUP_SIZES

UNIT = 2.0**-7


def matrix(*rows: list[float]) -> Matrix:
    """Return a bf16 matrix of rows that bf16 holds."""
    W = torch.tensor(rows, dtype=torch.float64)
    assert torch.equal(W.bfloat16().double(), W)
    return Matrix(W.bfloat16())


def units(*rows: list[float]) -> Matrix:
    """Return a matrix of values in units, in one group of two rows, tokens 0 and 1, and the others."""
    return matrix(*([x * UNIT for x in row] for row in [rows[0], *rows]))


def rows_of(*rows: list[float]) -> Rows:
    """Return distinct rows, one token each."""
    return Rows(matrix(*rows).W, np.arange(len(rows)), np.ones(len(rows), np.int64))


# --- conventions of the lattice


def test_steps_over_an_exponent_a_sign_and_zero_are_counted_as_each_convention_has_them() -> None:
    pairs = [[1.9921875, 2.0], [1.0, -1.0], [0.0, -0.0], [2.0**-133, -(2.0**-133)], [1.0, 2.0], [2.0**-126, 2.0**-125]]
    bits = bits_of(torch.tensor(pairs).bfloat16())
    apart = [np.abs(np.diff(convention(bits)))[:, 0].tolist() for convention in (np.asarray, own_ulps, lattice)]
    assert apart == [
        [1, 0x8000, 0x8000, 0x8000, 128, 128],
        [127, 256, 0, 2, 0, 0],
        [1, 2 * 0x3F80, 0, 2, 128, 128],
    ]


def test_measures_of_pairs_come_in_the_order_of_the_pairs() -> None:
    rows = np.array([[0, 0], [1, 5], [2, 2]])
    assert pairs_of(3).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert over_pairs(rows, np.max).tolist() == [5, 2, 3]
    assert over_pairs(rows, np.sum).tolist() == [6, 4, 4]
    assert over_pairs(rows[:1], np.max).tolist() == []


# --- the groups


def test_the_groups_go_by_size_and_then_by_their_lowest_token() -> None:
    """Two groups of three begin with tokens 1 and 2, and one of two with token 0."""
    W = matrix(*([x] for x in (1.0, 3.0, 2.0, 2.0, 3.0, 1.0, 2.0, 3.0, 9.0)))
    places = Places(W)
    assert places.groups.tokens.tolist() == [1, 2, 0]
    assert places.groups.counts.tolist() == [3, 3, 2]
    assert places.largest == 1
    assert places.duplicates.tolist() == list(range(8))


def test_the_groups_bits_are_compared_dimension_by_dimension() -> None:
    """Rows 128 128 130, 128 129 130 and 128 131 132, in groups of 3, 2 and 2: three patterns, then two."""
    rows = [[128, 128, 130]] * 3 + [[128, 129, 130]] * 2 + [[128, 131, 132]] * 2
    places = Places(matrix(*([x * UNIT for x in row] for row in rows)))
    assert group_figures(places) == {
        "group_constant_dims": 1,
        "group_varying_dims": "1 2",
        "group_patterns_per_varying_dim": "2:1 3:1",
        "group_dims_that_differ_max": 2,
        "group_linf_bits_from_largest": "1 3",
        "group_linf_bits_max": 3,
        "group_adjacent_pairs": 1,
        "group_adjacent_pairs_l1": "1",
    }
    found = group_distance_figures(places)
    assert (found["group_l2_min"], found["group_linf_max"]) == (UNIT, 3 * UNIT)
    assert found["group_l2_max"] == pytest.approx(13**0.5 * UNIT)
    assert found["group_linf_mean"] == 2 * UNIT
    assert "group_l2_four_largest_sites" not in found


def test_the_four_sites_are_the_first_second_third_and_fifth_group() -> None:
    rows = [[float(x)] for x, n in ((0, 9), (1, 8), (3, 7), (50, 6), (7, 5)) for _ in range(n)]
    found = group_distance_figures(Places(matrix(*rows)))
    ones = [f"{x:.6e}" for x in (1, 3, 7, 2, 6, 4)]
    assert found["group_l2_four_largest_sites"] == " ".join(ones)


def test_groups_of_2_and_6_are_a_quarter_unequal_and_spread_in_one_direction() -> None:
    """2(1·2 + 2·6) / (2·8) - 3/2 = 1/4."""
    found = spread_figures(Places(matrix(*[[1.0, 0.0]] * 6, *[[2.0, 1.0]] * 2)))
    assert found == {
        "group_gini": 0.25,
        "group_participation_ratio": pytest.approx(1),
        "duplicate_tokens_participation_ratio": pytest.approx(1),
    }


def test_exponents_are_those_of_bf16_and_a_neighbours_differ_by_so_many_at_most() -> None:
    """Exponent fields: 127 of 1 to 2, 128 of 2, 126 of 0.5, 0 of zero and of what is below 2⁻¹²⁶."""
    places = Places(matrix([1.0, 1.5], [1.0, 1.5], [2.0, 1.0], [0.5, -4.0], [2.0**-19, 2.0], [0.0, 2.0**-133]))
    assert places.exponent_distances.tolist() == [0, 0, 1, 2, 19, 127]
    found = exponent_figures(places)
    assert found["exponent_neighbourhood_tokens"] == " ".join(["2", "3", *["4"] * 17, "5", "5"])
    assert found["exponent_distance_max"] == 127
    own = largest_group_figures(Places(matrix([1.0, 4.0, 2.0**-133], [1.0, 4.0, 2.0**-133])))
    assert own["largest_group_exponent_histogram"] == "0:1 127:1 129:1"
    assert (own["largest_group_ulp_min"], own["largest_group_ulp_max"]) == (2.0**-133, 2.0**-5)


# --- graphs


def test_components_go_by_rows_then_tokens_then_edges() -> None:
    """0-1-2 and 3-4-5-3 have three rows each, 6-7 two; token counts set the first two's order, or edges do."""
    edges = np.array([[0, 1], [1, 2], [3, 4], [4, 5], [3, 5], [6, 7]])
    found = graph_figures(9, edges, np.array([1, 1, 9, 1, 1, 1, 1, 1, 1]))
    assert found["nbhd_graph1_components"] == 4
    assert [found[f"nbhd_graph1_component_{what}"] for what in ("rows", "tokens", "edges")] == [
        "3 3 2", "3 11 2", "3 2 1",
    ]  # fmt: skip
    assert graph_figures(9, edges, np.ones(9, int))["nbhd_graph1_component_edges"] == "2 3 1"
    nothing = graph_figures(3, np.zeros((0, 2), int), np.ones(3, int))
    assert nothing["nbhd_graph1_components"] == 3
    assert nothing["nbhd_graph1_component_rows"] == ""


def test_rows_are_connected_at_the_longest_step_of_the_shortest_way_and_rows_at_0_are_not() -> None:
    """0-1 are 9 apart, 1-2 3, 0-2 4: at 4 all are one. Two rows at 0 never are, but by way of a third."""
    assert connection(3, np.array([9, 4, 3])) == {"nbhd_graph_connected_at": 4}
    assert connection(2, np.array([0])) == {}
    assert connection(3, np.array([0, 1, 1])) == {"nbhd_graph_connected_at": 1}
    assert connection(1, np.zeros(0, int)) == {}


def test_the_neighbourhoods_figures_of_five_rows_by_hand() -> None:
    """128, 129, 131, 255 and 256 (128 in its own ulps, of the next exponent).

    Steps: 1 3 127 0 · 2 126 1 · 124 3 · 127; edges at 1 are 128-129 and 129-256.
    """
    places = Places(units([128], [129], [131], [255], [256]))
    found = neighbourhood_figures(places.neighbourhood)
    assert found == {
        "nbhd_linf_lattice_max": 127.0,
        "nbhd_linf_lattice_median": 3.0,
        "nbhd_linf_lattice_pairs_at_1_to_5": "2 1 2 0 0",
        "nbhd_graph1_edges": 2,
        "nbhd_graph1_components": 3,
        "nbhd_graph1_component_rows": "3",
        "nbhd_graph1_component_tokens": "4",
        "nbhd_graph1_component_edges": "2",
        "nbhd_graph1_edges_by_l1": "1:1 127:1",
        "nbhd_linf_bits_max": 128,
        "nbhd_graph_components_by_threshold": "3 2 2 2 2 2 2 2 2 2 1",
        "nbhd_graph_edges_by_threshold": "2 3 5 5 5 5 5 5 5 5 9",
        "nbhd_graph_connected_at": 124,
    }


# --- the flood


def test_a_flood_goes_on_by_single_steps_in_any_number_of_dimensions_and_stops_at_two() -> None:
    """From the group at (130, 200): by one step in both dimensions, another in one; (134, 201) is 2 from the last."""
    W = units([130, 200], [131, 201], [132, 201], [134, 201], [137, 201], [130, 198], [200, 200])
    found = flood_figures(Places(W))
    assert found == {
        "flood_rows": 3,
        "flood_tokens": 4,
        "flood_outside_within_2": 2,
        "flood_outside_within_5": 3,
        # Mantissas: 2 to 4, and 72 to 73.
        "flood_dims_near_exponent_boundary": "1 1",
    }


def test_a_flood_takes_what_is_one_step_away_in_own_ulps_and_neither_what_is_127_nor_what_is_0() -> None:
    """From 255: 256 is 127 away in its own ulps, and 510 is 0; but 510 is 1 from 254, and is reached by way of it."""
    assert Vocabulary(units([255], [256], [510])).flood([0]) == [0]
    assert Vocabulary(units([255], [256], [510], [254])).flood([0]) == [0, 2, 3]
    alone = flood_figures(Places(units([255], [256], [510])))
    assert (alone["flood_rows"], alone["flood_outside_within_2"]) == (1, 1)


def test_a_flood_looks_past_the_first_dimensions() -> None:
    near, far = [128.0] * 40, [128.0] * 39 + [131.0]
    assert Vocabulary(units(near, [129.0] * 40, far)).flood([0]) == [0, 1]


# --- by distance


def test_the_nearest_of_the_cloud_come_first_and_of_equal_ones_the_lowest() -> None:
    W = matrix([0.0], [0.0], [2.0**-5], [2.0**-6], [-(2.0**-5)], [2.0**-8], [1.0])
    assert oort_figures(Places(W)) == {"oort_tokens": 3, "oort_first_20": "3 2 4"}


# --- extents, values and gaps


def test_extents_are_of_unsigned_bits() -> None:
    found = extent_figures(rows_of([1.0, 1.0, 2.0], [1.0078125, -1.0, 2.0]))
    assert found == {"core52_extent_histogram": "0:1 1:1 32768:1", "core52_varying_dims": 2, "core52_rows": 2}


def test_gaps_are_counted_in_last_places_of_their_lower_value_and_by_powers_of_two_of_the_smallest() -> None:
    """From -2 to -1: 64 last places of 2⁻⁶. From 2 - 2⁻⁷ to 2: one. From 2 to 2 + 2⁻⁷, half of one, as no bf16 is."""
    whole = gap_figures([np.array([-2.0, -1.0, 0.0, 1.0]), np.array([1.9921875, 2.0]), np.array([2.0, 2.0078125])])
    assert whole == {
        "component_gaps_integer_ulp": 3,
        "component_gap_ulp_max": 128.0,
        "component_gaps_power_of_two": 5,
    }
    # Downwards over an exponent, from -1 to -1 + 2⁻⁸, the gap is half of the lower value's last place.
    assert gap_figures([np.array([-1.0, -0.99609375])])["component_gap_ulp_max"] == 0.5
    assert gap_figures([np.array([1.0, 2.0, 5.0, 9.0])])["component_gaps_power_of_two"] == 2
    assert gap_figures([np.array([3.0])]) == {}


def test_zeros_of_either_sign_are_one_value_and_more_than_ten_are_counted_together() -> None:
    columns = np.zeros((12, 3))
    columns[0, 0] = -0.0
    columns[:, 1], columns[0, 2] = np.arange(1, 13), 1.0
    found = dimension_figures(columns)
    assert found["component_values_per_dim"] == "1 1 0 0 0 0 0 0 0 0 1"
    assert (found["component_values_per_dim_max"], found["component_gaps"]) == (12, 12)


def test_differences_are_taken_in_bf16_and_halves_go_to_the_even_shell() -> None:
    """In units of 2⁻¹⁶: 0.5, 1.5 and 2.5 go to 0, 2 and 2; 512 - 3.25 = 508.75 is no bf16, and 508 the nearest."""
    unit = 2.0**-16
    values = np.array([[0.5, 0.0], [1.5, 1.0], [-2.5, 2.0], [512.0, 0.0]]) * unit
    found = shell_figures(values, np.zeros(2), np.array([1, 2, 3, 4]))
    assert found == {"component_linf_shell_rows": "0:1 2:2 512:1", "component_linf_shell_tokens": "0:1 2:5 512:4"}
    aside = shell_figures(np.array([[512.0]]) * unit, np.array([3.25]) * unit, np.array([1]))
    assert aside["component_linf_shell_rows"] == "508:1"


def test_faces_are_shared_by_rows_one_step_apart_in_one_dimension_be_it_over_an_exponent_or_zero() -> None:
    """A chain: 255-256 (over an exponent), then -0.0 to 2⁻¹³³; 0.0 and -0.0 are one; two dimensions are too many."""
    low, high = 1.9921875, 2.0
    rows = rows_of([low, -0.0], [high, 0.0], [high, 2.0**-133], [high, -(2.0**-133)], [low, 2.0**-132])
    assert face_figures(rows) == {
        "component_face_edges": 3,
        "component_face_components": 2,
        "component_face_degree_histogram": "0:1 1:3 3:1",
    }


def test_of_pairs_exactly_as_far_apart_the_lowest_tokens_are_told() -> None:
    """Both diagonals of a square; and a hair that fp64 sums lose makes the second the longer one."""
    square = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]
    assert farthest_pair(rows_of(*square)) == {"component_farthest_pair": "0 3"}
    square[2][2] = 2.0**-40
    assert farthest_pair(rows_of(*square)) == {"component_farthest_pair": "1 2"}


def test_the_core_is_within_three_units_inclusive_and_the_tokens_aside_are_told_one_by_one() -> None:
    unit = 2.0**-16
    W = matrix(*([x * unit] for x in (128.0, 131.0, 132.0, 128.0, 132.0, 125.0)))
    found = component_figures(W, np.arange(6), largest=0)
    assert found["component_core3_tokens"] == 4
    assert found["component_core3_outside"] == "2 4"
    assert found["component_face_edges"] == 0


# --- the replica's


def test_the_replicas_further_figures_agree_with_what_is_planted_and_with_each_other(
    replica: Replica, further_figures: dict[str, Value]
) -> None:
    found = further_figures

    def numbers(name: str) -> list[int]:
        return [int(word) for word in str(found[name]).split()]

    def counts(name: str) -> list[int]:
        return [int(word.partition(":")[2]) for word in str(found[name]).split()]

    n_tokens, n_dims = replica.W.shape
    assert len(found) == 118
    near = numbers("exponent_neighbourhood_tokens")
    assert near == sorted(near)
    assert sum(numbers("nbhd_shell_tokens")) == near[5] >= len(replica.members)
    assert sum(numbers("nbhd_shell_rows")) == near[5] - 2_100 + 13
    assert near[20] == n_tokens
    assert sum(counts("largest_group_exponent_histogram")) == sum(counts("core52_extent_histogram")) == n_dims
    # The groups' rows are one step from the largest's, in a dimension of their own each.
    assert found["group_linf_bits_from_largest"] == " ".join(["1"] * 12)
    assert (found["group_dims_that_differ_max"], found["group_adjacent_pairs"]) == (2, 78)
    differences = sum(abs(a - b) for a in GROUP_SIZES for b in GROUP_SIZES)
    assert found["group_gini"] == pytest.approx(differences / (2 * 13 * 2_100))
    assert sum(counts("component_linf_shell_rows")) == 125
    assert sum(counts("component_linf_shell_tokens")) == len(replica.members)
    aside = numbers("component_core3_outside")
    assert found["component_core3_tokens"] == len(replica.members) - len(aside)
    assert set(aside) <= set(replica.singles)
    assert sorted(numbers("oort_first_20")) == sorted(replica.near[3:])
    assert sum(numbers("component_values_per_dim")) == n_dims


def test_a_table_is_written_with_the_digits_and_exponents_of_the_published_one(tmp_path: Path) -> None:
    like = tmp_path / "published.csv"
    like.write_text(
        "figure,published,class,source,definition\na,7.45e-09,exact,s,d\nb,508.0,exact,s,d\nc,1,exact,s,d\n"
    )
    written = write_table(tmp_path / "own.csv", {"b": 127.0, "a": 2.0**-14}, like)
    with written.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(row["figure"], row["published"]) for row in lines] == [("a", "6.10e-05"), ("b", "127.0")]
    assert FURTHER.is_file()
