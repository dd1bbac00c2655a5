"""Every feature column of a catalog, read back through its views, against naive fp64 arithmetic on the whole matrix."""

import json
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from tests.support.helpers import bf16_matrix, ingest_bare, minilm_folder, rows
from tests.support.oracle_bf16 import exact_dot, nearest_root_by_search
from token_catalog.catalog.errors import CatalogError
from token_catalog.ingest.features import scan as features_module
from token_catalog.ingest.recipe.recipe import parse_recipe

pytestmark = pytest.mark.usefixtures("tables_only")

COLUMNS = "norm, x, y, z, radius, lat, lon"


def naive(W: torch.Tensor) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Return the features by numpy's own covariance and eigenvectors, default axes (meridian 1, equinox 3, north 2)."""
    X = W.double().numpy()
    mean = X.mean(axis=0)
    values, columns = np.linalg.eigh(np.cov(X, rowvar=False, bias=True))
    columns = columns[:, ::-1]
    columns = columns * np.where(mean @ columns < 0, -1, 1)
    x, z, y = (X @ columns[:, :3]).T
    radius = np.sqrt(x**2 + y**2 + z**2)
    return {
        "norm": np.sqrt((X**2).sum(axis=1)),
        "x": x,
        "y": y,
        "z": z,
        "radius": radius,
        "lat": np.degrees(np.arcsin(z / np.where(radius, radius, np.nan))),
        "lon": np.degrees(np.arctan2(y, x)),
        "pcs": X @ columns[:, :8],
        "eigenvalues": values[::-1],
    }


def check_against_naive(catalog: Path, W: torch.Tensor) -> None:
    """Compare every column of features and principal_components."""
    expected = naive(W)
    got = rows(
        catalog, f"select {COLUMNS}, pcs, norm_bf16, duplicate_of, duplicate_count from features order by token_id"
    )
    for i, column in enumerate(COLUMNS.split(", ")):
        np.testing.assert_allclose([row[i] for row in got], expected[column], rtol=1e-9, atol=1e-9, err_msg=column)
    np.testing.assert_allclose([row[7] for row in got], expected["pcs"], atol=1e-10)
    eigenvalues = rows(catalog, "select eigenvalue, variance_share from principal_components order by pc")
    np.testing.assert_allclose([e for e, _ in eigenvalues], expected["eigenvalues"], atol=1e-14)
    total = expected["eigenvalues"].sum()
    np.testing.assert_allclose([s for _, s in eigenvalues], expected["eigenvalues"] / total, atol=1e-13)
    rounded = W.bfloat16().double().tolist()
    sample = range(0, len(rounded), max(1, len(rounded) // 300))
    assert [got[i][8] for i in sample] == [nearest_root_by_search(exact_dot(rounded[i], rounded[i])) for i in sample]
    groups: dict[tuple[float, ...], list[int]] = defaultdict(list)
    for i, row in enumerate(W.double().tolist()):
        groups[tuple(value + 0.0 for value in row)].append(i)
    members = {i: ids for ids in groups.values() for i in ids}
    assert [(row[9], row[10]) for row in got] == [(members[i][0], len(members[i])) for i in range(len(got))]


@pytest.mark.parametrize(("n_tokens", "n_dims", "seed"), [(400, 16, 0), (257, 33, 1), (1000, 9, 2), (50, 64, 3)])
def test_features_of_a_synthetic_bf16_matrix_equal_a_naive_computation(
    tmp_path: Path, n_tokens: int, n_dims: int, seed: int
) -> None:
    W = bf16_matrix(n_tokens, n_dims, seed)
    W[n_tokens // 2] = W[3]
    W[n_tokens - 1] = W[3]
    ingest_bare(tmp_path / "c", W)
    check_against_naive(tmp_path / "c", W)


def test_features_of_the_real_model_equal_a_naive_computation(minilm: Path) -> None:
    with safe_open(minilm_folder() / "model.safetensors", "pt") as file:
        W = file.get_tensor("embeddings.word_embeddings.weight")
    check_against_naive(minilm, W)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_centred_norms_are_the_exact_distances_from_the_exact_mean(tmp_path: Path, dtype: torch.dtype) -> None:
    """Also of a row at a fiftieth of the others' distance from it; NULL where the row isn't finite."""
    W = (bf16_matrix(120, 12).float() * 1.37).to(dtype)
    W[30] = W.double().mean(dim=0).to(dtype)
    W[31], W[40], W[50, 2] = W[32], 0, float("nan")
    ingest_bare(tmp_path / "c", W)
    exact = {i: [Fraction(x) for x in row] for i, row in enumerate(W.double().tolist()) if i != 50}
    mean = [sum(column, Fraction(0)) / 119 for column in zip(*exact.values(), strict=True)]
    got = rows(tmp_path / "c", "select token_id, centred_norm, norm from features order by token_id")
    assert got[50][1] is None
    for token_id, distance, _ in got[:50] + got[51:]:
        square = sum(((x - y) ** 2 for x, y in zip(exact[token_id], mean, strict=True)), Fraction(0))
        assert abs(Fraction(distance) ** 2 - square) <= square * 2 * Fraction(1e-12)
    assert got[31][1] == got[32][1]
    assert got[30][1] < 0.02 * got[29][1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_vectors_hold_the_stored_values_exactly(tmp_path: Path, dtype: torch.dtype) -> None:
    W = (torch.randn(300, 12, generator=torch.Generator().manual_seed(7)) * 0.1).to(dtype)
    W[0, 0], W[1, 0] = -0.0, torch.finfo(dtype).tiny
    ingest_bare(tmp_path / "c", W)
    got = np.array([row[0] for row in rows(tmp_path / "c", "select vector from vectors order by token_id")], np.float32)
    assert got.tobytes() == W.float().numpy().tobytes()


def test_rows_that_are_not_finite_have_no_features_and_zero_rows_have_no_place(tmp_path: Path) -> None:
    W = bf16_matrix(60, 8)
    W[5], W[9, 2], W[11, 0] = 0, float("nan"), float("-inf")
    W[20] = W[21]
    report = ingest_bare(tmp_path / "c", W)
    assert any("rows with a NaN or an infinity: 2;" in warning for warning in report.warnings)
    assert any("rows that are zero: 1;" in warning for warning in report.warnings)
    everything = f"{COLUMNS}, norm_bf16, pcs, duplicate_of, duplicate_count"
    unknown = rows(tmp_path / "c", f"select {everything} from features where token_id in (9, 11)")
    assert unknown == [(None,) * 11] * 2
    zero = rows(tmp_path / "c", f"select {everything} from features where token_id = 5")
    assert zero == [(0.0, 0.0, 0.0, 0.0, 0.0, None, None, 0.0, [0.0] * 8, 5, 1)]
    assert rows(tmp_path / "c", "select n_nonfinite from models") == [(2,)]
    kept = [i for i in range(60) if i not in (9, 11)]
    norms = [
        row[0] for row in rows(tmp_path / "c", "select norm from features where norm is not null order by token_id")
    ]
    np.testing.assert_allclose(norms, naive(W[kept])["norm"], rtol=1e-14)
    eigenvalues = [row[0] for row in rows(tmp_path / "c", "select eigenvalue from principal_components order by pc")]
    np.testing.assert_allclose(eigenvalues, naive(W[kept])["eigenvalues"], atol=1e-14)


def test_no_finite_row_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no finite row"):
        ingest_bare(tmp_path / "c", torch.full((4, 4), float("nan"), dtype=torch.bfloat16))


@pytest.mark.views
def test_minus_zero_equals_zero_in_duplicates_and_is_never_stored_in_a_computed_column(tmp_path: Path) -> None:
    W = torch.tensor([[0.0, 1, 0, 0], [-0.0, 1, 0, -0.0], [0, -1, 2, 0], [0, 0, -2, -1]], dtype=torch.bfloat16)
    ingest_bare(tmp_path / "c", W)
    assert rows(tmp_path / "c", "select duplicate_of, n_tokens, token_ids from duplicate_groups") == [(0, 2, [0, 1])]
    numbers = rows(tmp_path / "c", f"select {COLUMNS} from features")
    assert not any(value == 0 and np.signbit(value) for row in numbers for value in row if value is not None)


def test_equal_rows_have_equal_features_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A product's last bit depends on how many rows stand beside a row; in the last chunk, none does."""
    monkeypatch.setattr(features_module, "CHUNK_BYTES", 8 * 384 * 500)
    W = bf16_matrix(2 * 500 + 1, 384)
    W[250] = W[500] = W[1000] = W[0]
    ingest_bare(tmp_path / "c", W, with_vectors=False)
    own = "norm, norm_bf16, centred_norm, x, y, z, radius, lat, lon, pcs"
    same = f"select distinct {own} from features where duplicate_of = 0"
    assert len(rows(tmp_path / "c", same)) == 1
    assert rows(tmp_path / "c", "select count(*) from features where duplicate_of = 0") == [(4,)]


@pytest.mark.views
def test_values_one_bf16_step_apart_are_no_duplicates(tmp_path: Path) -> None:
    W = bf16_matrix(40, 8)
    W[7] = W[3]
    W[7, 0] = torch.nextafter(W[3, 0], torch.tensor(9.0, dtype=torch.bfloat16))
    ingest_bare(tmp_path / "c", W)
    assert rows(tmp_path / "c", "select count(*) from duplicate_groups") == [(0,)]


def test_doubling_w_doubles_lengths_and_moves_nothing_on_the_sky(tmp_path: Path) -> None:
    W = bf16_matrix(200, 10)
    ingest_bare(tmp_path / "c", W, "once")
    ingest_bare(tmp_path / "c", W * 2, "twice")
    query = (
        "select norm, x, y, z, radius, norm_bf16, centred_norm, lat, lon from features where model = '{}' "
        "order by token_id"
    )
    once, twice = (np.array(rows(tmp_path / "c", query.format(name))) for name in ("once", "twice"))
    np.testing.assert_allclose(twice[:, :7], once[:, :7] * 2, rtol=1e-12)
    np.testing.assert_allclose(twice[:, 7:], once[:, 7:], rtol=1e-11)


def test_permuting_rows_permutes_every_value_that_is_no_id(tmp_path: Path) -> None:
    W = bf16_matrix(200, 10)
    W[17] = W[100]
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    ingest_bare(tmp_path / "c", W, "straight")
    ingest_bare(tmp_path / "c", W[order], "shuffled")
    query = (
        "select norm, x, y, z, lat, lon, norm_bf16, duplicate_count from features where model = '{}' order by token_id"
    )
    straight, shuffled = (np.array(rows(tmp_path / "c", query.format(name))) for name in ("straight", "shuffled"))
    np.testing.assert_allclose(shuffled[:, :6], straight[order.numpy()][:, :6], rtol=1e-10, atol=1e-13)
    assert (shuffled[:, 6:] == straight[order.numpy()][:, 6:]).all()


def test_the_size_of_chunks_changes_no_certified_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    W = bf16_matrix(150, 10)
    W[149] = W[0]
    certified = "select norm_bf16, duplicate_of, duplicate_count from features where model = '{}' order by token_id"
    floats = "select norm, x, y, z, lat, lon from features where model = '{}' order by token_id"
    for n_rows in (1, 7, 150):
        monkeypatch.setattr(features_module, "CHUNK_BYTES", 8 * 10 * n_rows)
        ingest_bare(tmp_path / "c", W, str(n_rows))
    answers = [rows(tmp_path / "c", certified.format(n_rows)) for n_rows in (1, 7, 150)]
    assert answers[0] == answers[1] == answers[2]
    values = [np.array(rows(tmp_path / "c", floats.format(n_rows))) for n_rows in (1, 7, 150)]
    np.testing.assert_allclose(values[1], values[0], rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(values[2], values[0], rtol=1e-10, atol=1e-13)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU at hand")
def test_a_gpu_gives_the_same_certified_columns_as_the_cpu(tmp_path: Path) -> None:
    W = bf16_matrix(5000, 128)
    W[77] = W[4]
    for device in ("cpu", "cuda"):
        ingest_bare(tmp_path / "c", W, device, device=device)
    certified = "select norm_bf16, duplicate_of, duplicate_count from features where model = '{}' order by token_id"
    assert rows(tmp_path / "c", certified.format("cpu")) == rows(tmp_path / "c", certified.format("cuda"))
    floats = "select norm, x, y, z, lat, lon from features where model = '{}' order by token_id"
    cpu, cuda = (np.array(rows(tmp_path / "c", floats.format(device))) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(cuda, cpu, rtol=1e-9, atol=1e-11)


def test_a_recipe_chooses_the_axes_and_one_token_settles_the_signs(tmp_path: Path) -> None:
    W = bf16_matrix(200, 10)
    for signs in ("+--", "-+-"):
        x, y, z = signs
        recipe = parse_recipe(
            {"sky": {"north": 4, "meridian": 2, "equinox": 1, "orient": {"token": 3, "x": x, "y": y, "z": z}}}
        )
        ingest_bare(tmp_path / "c", W, signs, recipe=recipe)
        ((x3, y3, z3, pcs),) = rows(
            tmp_path / "c", f"select x, y, z, pcs from features where model = '{signs}' and token_id = 3"
        )
        assert "".join("+" if value > 0 else "-" for value in (x3, y3, z3)) == signs
        assert (x3, y3, z3) == (pcs[1], pcs[0], pcs[3])
        vectors = rows(tmp_path / "c", f"select vector from principal_components where model = '{signs}' order by pc")
        np.testing.assert_allclose(W[3].double().numpy() @ np.array(vectors[1][0]), x3, rtol=1e-12)
        ((kept,),) = rows(tmp_path / "c", f"select recipe from models where model = '{signs}'")
        assert parse_recipe(json.loads(kept)) == recipe


def test_a_token_across_an_axis_settles_no_sign(tmp_path: Path) -> None:
    W = torch.diag(torch.tensor([4.0, 3, 2, 1])).repeat(2, 1)
    W[4:] *= -1
    W += torch.tensor([0.5, 0.25, 0.125, 0.0625])
    across = torch.cat([W, torch.zeros(1, 4)]).bfloat16()
    recipe = parse_recipe({"sky": {"orient": {"token": 8, "x": "+", "y": "+", "z": "+"}}})
    with pytest.raises(CatalogError, match=r"sky.orient.x: row 8 has x = 0, too near to 0"):
        ingest_bare(tmp_path / "c", across, recipe=recipe)


def test_a_negative_component_flips_the_axis_and_not_the_component(tmp_path: Path) -> None:
    W = bf16_matrix(200, 10)
    ingest_bare(tmp_path / "c", W, "plain")
    ingest_bare(tmp_path / "c", W, "flipped", recipe=parse_recipe({"sky": {"north": -2}}))
    query = "select x, y, z, pcs, lat from features where model = '{}' order by token_id"
    plain, flipped = (rows(tmp_path / "c", query.format(name)) for name in ("plain", "flipped"))
    assert [(x, y, -z, pcs, -lat) for x, y, z, pcs, lat in plain] == flipped
    assert rows(tmp_path / "c", "select north_pc from models where model = 'flipped'") == [(-2,)]


def test_equal_eigenvalues_on_the_sky_are_a_warning(tmp_path: Path) -> None:
    W = torch.cat([torch.eye(6), -torch.eye(6)]).to(torch.bfloat16) + 0.5
    report = ingest_bare(tmp_path / "c", W)
    assert any("PC2, PC1, PC3" in warning or "PC1, PC3, PC2" in warning for warning in report.warnings)
