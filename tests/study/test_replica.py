"""The replica of Qwen3-4B-Instruct-2507's matrix: what is planted is there, and the shipped recipe finds it."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.exact import Floats, bf16_norms, bf16_products, nearest_mean, to_bf16
from tests.support.helpers import rows
from tests.support.replica import COSINE, N_ASIDE, TINY, Replica, save_as, write_replica
from tests.support.replica_figures import Value
from tests.support.replica_layout import GROUP_SIZES

N_TOKENS = 24_000


def sky_of(W: torch.Tensor, token: int) -> tuple[Floats, float, float]:
    """Return a token's x, y, z, and its latitude and longitude, by numpy's covariance; z < 0, as 124's is."""
    X = W.double().numpy()
    pc3, pc2, pc1 = np.linalg.eigh(np.cov(X, rowvar=False, bias=True))[1].T[-3:]
    xyz = np.abs([pc1 @ X[token], pc3 @ X[token], pc2 @ X[token]]) * [1, 1, -1]
    return xyz, np.degrees(np.arcsin(xyz[2] / np.linalg.norm(xyz))), np.degrees(np.arctan2(xyz[1], xyz[0]))


def test_the_only_equal_rows_are_13_groups_of_the_published_sizes(replica: Replica) -> None:
    _, which, counts = np.unique(replica.W.float().numpy(), axis=0, return_inverse=True, return_counts=True)
    assert tuple(sorted(counts[counts > 1], reverse=True)) == GROUP_SIZES
    for ids, size in zip(replica.groups, GROUP_SIZES, strict=True):
        assert len(ids) == size
        assert len({int(which[i]) for i in ids}) == 1
    assert len(np.unique(which[replica.members])) == 125


def test_the_cluster_has_the_published_lowest_tokens_and_all_rows_past_the_vocabulary(replica: Replica) -> None:
    assert replica.members == sorted([*chain(*replica.groups), *replica.singles])
    assert len(replica.members) == 2_212
    assert replica.members[:13] == [124, 125, *range(177, 188)]
    assert [ids[0] for ids in replica.groups[:3]] == [12_651, 125, 124]
    assert replica.groups[10][0] == 180
    assert set(range(replica.n_vocab, N_TOKENS)) <= set(replica.members)
    assert N_TOKENS - replica.n_vocab == 267


def test_the_clusters_vectors_differ_from_its_centre_by_one_bf16_step_in_some_elements(replica: Replica) -> None:
    W, centre = replica.W, replica.W[replica.groups[0][0]]
    up, down = (torch.nextafter(centre, torch.full_like(centre, end)) for end in (torch.inf, -torch.inf))
    inside = W[torch.tensor(replica.members)]
    assert ((inside == centre) | (inside == up) | (inside == down)).all()
    assert [int((W[ids[0]] != centre).sum()) for ids in replica.groups] == [0, *[1] * 12]
    # The step that a tolerance of 1e-8 takes for none.
    assert (W[replica.groups[1][0]].double() - centre.double()).sum().item() == TINY / 128


def test_the_cluster_is_a_clique_with_a_void_around_it(replica: Replica) -> None:
    X = replica.W.double()
    inside = X[torch.tensor([ids[0] for ids in replica.groups] + replica.singles)]
    away = torch.cdist(inside, X, compute_mode="donot_use_mm_for_euclid_dist")
    outside = torch.ones(N_TOKENS, dtype=torch.bool)
    outside[torch.tensor(replica.members)] = False
    assert 0.0015 < away[:, ~outside].max() < 0.0017
    nearest = away[:, outside].amin(dim=0).sort().values
    assert 0.0034 < nearest[0] < 0.0038
    assert (nearest < 0.02).sum() == len(replica.near)
    assert nearest[len(replica.near)] > 0.05


def test_token_124_is_where_the_recipe_looks_for_it_at_any_size(replica: Replica, tmp_path: Path) -> None:
    for made in (replica, write_replica(tmp_path, 12_000, 100, seed=1)):
        xyz, lat, lon = sky_of(made.W, 124)
        assert (lat, lon) == pytest.approx((-7.2888, 6.9400), abs=1e-4)
        norm = made.W[124].double().norm().item()
        assert norm == pytest.approx(0.371, abs=3e-4)
        assert np.linalg.norm(xyz) / norm == pytest.approx(COSINE, abs=5e-4)
        assert min(made.members) == 124


def test_another_of_the_same_seed_is_the_same(replica: Replica, tmp_path: Path) -> None:
    again = write_replica(tmp_path)
    assert torch.equal(again.W, replica.W)
    assert (again.members, again.groups, again.near) == (replica.members, replica.groups, replica.near)
    assert (again.tokenizer / "tokenizer.json").read_bytes() == (replica.tokenizer / "tokenizer.json").read_bytes()


def test_as_many_entries_come_back_as_themselves_as_were_made_to(replica_figures: dict[str, Value]) -> None:
    # Half of the bytes, the cluster's other than 13 of those, the 267 without an entry and 11, and those set aside.
    n_aside = 128 + (2_212 - 13 - 267 - 11) + N_ASIDE * N_TOKENS // 151_936
    assert replica_figures["roundtrip_no"] == n_aside
    assert replica_figures["roundtrip_yes"] == N_TOKENS - 267 - n_aside
    assert replica_figures["roundtrip_in_component"] == 11
    assert replica_figures["component_rows_without_entry"] == 267


def test_no_figure_is_degenerate(replica_figures: dict[str, Value]) -> None:
    found = replica_figures
    assert found["component_largest"] == found["component_unique_vectors"] + 2_100 - 13 == 2_212
    assert found["component_edges"] == 2_212 * 2_211 // 2
    assert found["spike_tokens"] > 2_212 + 500
    assert found["component_count_in_spike"] == found["spike_tokens"] - 2_211
    assert found["cosine_mode_value"] == 0.84375
    assert found["self_dot_value"] == 0.1376953125
    assert min(found[f"box_{name}_tokens"] for name in ("0.001", "0.2", "0.1", "3.0")) > 2_000
    assert found["overlap_both"] > 2_212
    assert min(found[name] for name in ("overlap_only_cosine", "overlap_only_dot")) > 20
    assert found["dot_mode_unique_vectors"] > 125


def test_the_shipped_recipe_finds_the_cluster(replica: Replica, replica_catalog: Path) -> None:
    found = rows(replica_catalog, "select token_id from members('largest-component') order by token_id")
    assert [token for (token,) in found] == replica.members
    assert rows(replica_catalog, "select component, n_tokens from components") == [(124, 2_212)]
    vector = rows(replica_catalog, "select vector from reference_vectors where reference = '1.5d'")
    assert vector == [(replica.W[124].tolist(),)]


def test_a_matrix_with_a_fault_is_saved_beside_the_same_tokenizer(replica: Replica, tmp_path: Path) -> None:
    path = save_as(tmp_path, replica.W[:100], replica.tokenizer)
    assert path == tmp_path / "W.safetensors"
    assert (tmp_path / "tokenizer" / "tokenizer.json").is_file()


def test_the_figures_rounding_settles_what_fp64_leaves_at_halfway() -> None:
    ones, hair = np.ones(3), 2.0**-60
    rows = np.array([[256.0, 1.0, 0.0], [256.0, 1.0, hair], [258.0, 1.0, 0.0]])
    assert bf16_products(rows, ones).tolist() == [256.0, 258.0, 260.0]
    assert bf16_norms(np.array([[255.0, 32.0, 0.0], [255.0, 32.0, hair]])).tolist() == [
        256.0,
        258.0,
    ]  # 257, and past it
    assert to_bf16(np.array([-257.0, 259.0])).tolist() == [-256.0, 260.0]


def test_the_figures_mean_is_the_fp32_nearest_to_the_exact_one() -> None:
    # The means are 2²⁴ + 1, halfway between two fp32, and that and a hair, which fp64 sums lose.
    W = torch.tensor([[2.0**26, 2.0**26], [4.0, 4.0], [0.0, 2.0**-60], [9.0, 9.0], [0.0, 0.0]]).bfloat16()
    assert nearest_mean(W, np.array([0, 1, 2, 4])).tolist() == [2.0**24, 2.0**24 + 2]
