"""The further figures of distances, axes, pairs and entries: answers by hand, and what is settled at their edges."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from tokenizers import decoders, pre_tokenizers

from tests.support import further_geometry
from tests.support.exact import Floats
from tests.support.further_entries import category, script, scripts
from tests.support.further_geometry import Pairs, figures, outliers, pair_statistics, shells
from tests.support.replica import Replica
from tests.support.replica_figures import Component, Matrix, Value
from tests.support.tokenizers_made import bpe, save

N_TOKENS, N_DIMS = 400, 9
# The rows at the centre: two signs, a byte that is no text, a control, a space, Thai, CJK, and rows without an entry.
CENTRAL = [0, 1, 94, 188, 220, 256, 257, *range(361, 400)]
ABOUT_X = 0.25


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Value]:
    """Return the figures of a matrix along its axes."""
    matrix = Matrix(along_axes())
    return figures(matrix, Component(matrix), entries(tmp_path_factory.mktemp("entries")))


def along_axes() -> torch.Tensor:
    """Return W (400, 9), in bf16 without loss: its components are its axes, and it is symmetric about (1/4, 0, …).

    46 rows are there. 19 are ahead and 19 behind on each axis, by 9/8, 8/8, … 1/8. Eight corners of a cube on the first
    three, (±1/4, ±1/4, ±1/4), and four of a square on the next two, (±1/8, ±1/8), settle signs.
    """
    W = torch.zeros(N_TOKENS, N_DIMS, dtype=torch.float64)
    cube, square = (torch.cartesian_prod(*[torch.tensor([1.0, -1.0])] * k) for k in (3, 2))
    W[124, :3], W[317, 3:5] = torch.tensor([1, -1, 1]) / 4, torch.tensor([1, -1]) / 8
    free = iter(sorted(set(range(N_TOKENS)) - {*CENTRAL, 124, 317}))
    for corner in cube:
        if corner.tolist() != [1, -1, 1]:
            W[next(free), :3] = corner / 4
    for corner in square:
        if corner.tolist() != [1, -1]:
            W[next(free), 3:5] = corner / 8
    for axis in range(N_DIMS):
        for row in range(38):
            W[next(free), axis] = (-1) ** row * (9 - axis) / 8
    W[:, 0] += ABOUT_X
    return W.bfloat16()


def entries(folder: Path) -> Path:
    """Write a tokenizer of 259 entries: 256 bytes, two letters, a word; half of the bytes don't come back."""
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())
    encoded = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces += [encoded.pre_tokenize_str(text)[0][0] for text in ("ก", "一", "ab")]
    made = bpe(pieces, decoders.ByteLevel(), ignore_merges=True)
    made.pre_tokenizer = encoded
    return save(made, folder)


def test_shells_and_the_void_about_46_equal_rows(by_hand: dict[str, Value]) -> None:
    """From them it is 1/8 … 9/8 to 38 each, √3/4 = 0.433 to 8 and √2/8 = 0.177 to 4; 1.0 is in the shell up to it."""
    shells_found = "0 0 0 0 0 0 42 38 38 46 0 76 76 38 0 0"
    assert by_hand["shell_tokens_from_largest_group"] == shells_found
    assert by_hand["shell_tokens_from_duplicate_mean"] == "0 0 0 0"
    assert by_hand["distance_from_largest_group_max"] == 9 / 8
    assert by_hand["duplicate_mean_centred_norm"] == pytest.approx(0, abs=1e-15)
    assert (by_hand["void_after_rank"], by_hand["void_from_to"]) == (46, "0.000000e+00 1.250000e-01")
    assert by_hand["void_inside_rows"] == 1


def test_what_a_matrix_lacks_is_left_out(by_hand: dict[str, Value]) -> None:
    """One vector is in the component, all its tokens duplicates; 10,000 tokens there aren't."""
    lacking = {"void_inside_linf_max", "void_inside_outliers", "singles_linf_max", "radius_of_nearest_10000"}
    assert lacking & set(by_hand) == set()


def test_lengths_about_the_mean_row(by_hand: dict[str, Value]) -> None:
    """Of 400 in order, the 200th is 1/2: 46 are 0, then come 38, 4, 38, 38, 8 and 38."""
    norms = np.array([0] * 46 + [k / 8 for k in range(1, 10)] * 38 + [3**0.5 / 4] * 8 + [2**0.5 / 8] * 4)
    told = (norms.mean(), norms.std() * (400 / 399) ** 0.5, 0, 9 / 8)
    assert by_hand["centred_norm_mean_std_min_max"] == " ".join(f"{number:.6f}" for number in told)
    assert by_hand["centred_norm_median"] == 0.5
    assert by_hand["max_abs_spike_tokens"] == 0  # the percentile is 0, and nothing is below it


def test_the_causal_metric_is_the_inverse_of_variances_with_n_less_one(by_hand: dict[str, Value]) -> None:
    """The axes' are 38·(k/8)² over 399, the first one's with the cube's 8·(1/4)²; a row of the last is 1/8 long."""
    least, most = 38 / 64 / 399, (38 * 81 / 64 + 0.5) / 399
    assert by_hand["dim_variance_min_max"] == f"{least:.8f} {most:.8f}"
    assert by_hand["causal_eigenvalue_max_min"] == f"{1 / (least + 1e-6):.4f} {1 / (most + 1e-6):.4f}"
    assert by_hand["causal_condition_number"] == pytest.approx((most + 1e-6) / (least + 1e-6), rel=1e-12)
    assert by_hand["eigenvalues_6_to_9"] == " ".join(f"{38 * k**2 / 64 / 399:.6e}" for k in (4, 3, 2, 1))
    # Longest is a row of the axis with neither cube nor square on which ε weighs least, that of 4/8.
    longest = (16 / 64 / (38 * 16 / 64 / 399 + 1e-6)) ** 0.5
    assert str(by_hand["causal_norm_mean_std_min_max"]).split()[2:] == ["0.0000", f"{longest:.4f}"]


def test_the_jet_is_where_token_317_is(by_hand: dict[str, Value]) -> None:
    """It is at (1/4, 0, 0, 1/8, −1/8, …), the mean at (1/4, 0, …): √6/8 long, the cosine 2/√6."""
    assert by_hand["jet_tokens"] == 1
    assert by_hand["jet_centroid_norm"] == pytest.approx(6**0.5 / 8, rel=1e-14)
    assert by_hand["jet_angle_to_mean"] == pytest.approx(np.degrees(np.arccos(2 / 6**0.5)), rel=1e-12)


def test_the_frame_and_the_logits_are_about_the_component(by_hand: dict[str, Value]) -> None:
    assert by_hand["cluster_frame_x_y_z"] == "-1.125000 1.125000 -0.875000 0.875000 -1.000000 1.000000"
    assert by_hand["pc1_logit_component_value"] == 0.25
    assert by_hand["centroid_logit32_component_min_max"] == "0.2500000000 0.2500000000"
    assert by_hand["centroid_logit32_max_min"] == "1.3750000000 -0.8750000000"


def test_the_spike_is_what_has_no_part_in_the_first_three_components(by_hand: dict[str, Value]) -> None:
    """46 at the centre, 38 on each of six axes, and the square, √2/8 from the centre: only those have no equal row."""
    near = 2**0.5 / 8
    told = " ".join(f"{number:.10f}" for number in (4 * near / 278, 0, near))
    assert by_hand["spike_nearest_neighbour_mean_median_max"] == told
    assert by_hand["spike_nearest_below_0.05_to_0.2"] == "274 274 274 278"
    assert str(by_hand["spike_pair_distance_median_mean_max"]).endswith(" 1.5000000000")
    assert by_hand["spike_singletons_farthest"] == 0.75


def test_entries_are_counted_in_the_component_and_beside_it(by_hand: dict[str, Value]) -> None:
    """Of 128 bytes that don't come back one is inside; what has no entry is empty, and in no halo."""
    assert by_hand["unreachable_in_component"] == 1
    assert by_hand["halo_tokens"] == 127
    assert by_hand["component_reachable_ids"] == "0 1 188 220 256 257"
    assert by_hand["component_categories"] == "3 1 40 1 1"
    found = "Empty/Whitespace:41 CJK:1 EXCLAMATION:1 QUOTATION:1 REPLACEMENT:1 THAI:1"
    assert by_hand["component_scripts"] == found


def test_a_token_on_a_shells_edge_is_inside_it_and_one_at_its_beginning_is_not() -> None:
    assert shells(np.array([0.0, 0.1, 0.1, 0.15, 0.2, 0.3]), (0.0, 0.1, 0.2)) == "2 2"


def pairs_of(rows: Floats) -> Pairs:
    """Return the pairs' statistics."""
    return pair_statistics(rows, np.unique(rows + 0.0, axis=0, return_inverse=True)[1].reshape(-1))


def test_pairs_are_measured_as_by_differences_however_near_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows are equal, one is 2⁻²⁷ from them, and two are zero, one of them negative: products alone lose that."""
    monkeypatch.setattr(further_geometry, "_BLOCK", 5)
    rows = np.random.default_rng(0).integers(-9, 9, (23, 40)) / 64
    rows[3] = rows[7] = rows[11] = rows[20]
    rows[7, 0] += 2.0**-27
    rows[12], rows[13] = 0.0, -0.0
    found, expected = pairs_of(rows), squareform(pdist(rows))
    np.fill_diagonal(expected, np.inf)
    assert found.nearest[[3, 7, 11, 20, 12, 13]].tolist() == [0, 2.0**-27, 0, 0, 0, 0]
    assert found.nearest == pytest.approx(expected.min(axis=1), rel=1e-12, abs=0)
    assert found.mean == pytest.approx(pdist(rows).mean(), rel=1e-12)
    assert (found.median, found.largest) == pytest.approx((np.sort(pdist(rows))[126], pdist(rows).max()), rel=1e-12)


@pytest.mark.parametrize("n_sampled", [40_000, 1])
def test_the_median_of_pairs_is_the_lower_one_whatever_is_sampled(
    n_sampled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 0, 1, 3 and 7 the distances are 1, 2, 3, 4, 6 and 7; one pair's own doesn't bracket the median."""
    monkeypatch.setattr(further_geometry, "_N_SAMPLED", n_sampled)
    found = pairs_of(np.array([[0.0], [1.0], [3.0], [7.0]]))
    assert (found.median, found.mean, found.largest) == (3, 23 / 6, 7)
    assert found.nearest.tolist() == [1, 1, 2, 4]


def test_outliers_are_past_the_largest_gap_by_one_dimension_alone() -> None:
    """The mean is (1, 0): 1, 1, 1, 3 away in the largest dimension, in Euclid's the second would be farther."""
    rows: Floats = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, -1.0], [4.0, 0.0]])
    assert outliers(rows).tolist() == [3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        (" \n\u3000", "empty"),
        ("a", "ascii"),
        ("\x00", "ascii"),
        ("กa一", "thai"),
        ("a一", "cjk"),
        ("\uf900", "other"),
        ("é", "other"),
        ("\ufffd", "other"),
    ],
)
def test_a_text_is_of_the_first_category_that_it_fits(text: str, expected: str) -> None:
    assert category(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "Empty/Whitespace"),
        ("\u200b\x00 ", "Empty/Whitespace"),
        ("éA1", "LATIN"),
        ("1A", "DIGIT"),
        ("ก 11", "DIGIT"),
        ("\uf900", "CJK"),
        ("\ufffd", "REPLACEMENT"),
        ("<|a|>", "VERTICAL"),
    ],
)
def test_a_script_is_what_most_characters_are_called(text: str, expected: str) -> None:
    assert script(text) == expected


def test_scripts_as_frequent_are_in_alphabetical_order_and_eight_at_most() -> None:
    assert scripts(["א", "a", "a", "ב", "ก"]) == "HEBREW:2 LATIN:2 THAI:1"
    assert len(scripts("aאก一éя+1!<-λ").split()) == 8


def test_of_the_replica_every_figure_is_there_and_agrees_with_what_is_planted(replica: Replica) -> None:
    matrix = Matrix(replica.W)
    component = Component(matrix)
    found = figures(matrix, component, replica.tokenizer)
    assert len(found) == 46
    assert found["unreachable_in_component"] == 2_212 - 267 - 11
    assert str(found["component_categories"]).split()[2] == "267"
    # The void that is planted is past the near tokens and the turned ones: nothing else is so near.
    assert found["void_after_rank"] == 2_212 + len(replica.near) + len(replica.turned)
    assert found["void_inside_rows"] == 125 + sum(near < further_geometry.VOID for near in distances_near(replica))
    shell = [int(count) for count in str(found["shell_tokens_from_largest_group"]).split()]
    assert sum(shell) == len(replica.W) - len(replica.groups[0])
    assert float(found["void_inside_linf_max"]) >= float(found["singles_linf_max"])


def distances_near(replica: Replica) -> list[float]:
    """Return how far the tokens past the void are from the duplicates' mean."""
    W = replica.W.double()
    mean = W[torch.tensor([i for ids in replica.groups for i in ids])].mean(dim=0)
    return [float(torch.linalg.vector_norm(W[token] - mean)) for token in replica.near]
