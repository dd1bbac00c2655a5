"""Alignments of models whose rotation is known, of others against SciPy's, and what is stored and told of them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.linalg import orthogonal_procrustes

import token_catalog
from tests.support.command_line import refused, run
from tests.support.helpers import bf16_matrix, ingest_bare, rows
from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.state import Version, read_state
from token_catalog.ingest.align import align_models
from token_catalog.ingest.alignment.procrustes import MatchedRows, align

Array = np.ndarray[Any, np.dtype[Any]]
N, D = 60, 6


def orthogonal(n: int, m: int, seed: int = 1) -> Array:
    """Return a random matrix `(n, m)` whose rows are orthonormal, n <= m; a reflection as likely as a rotation."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(m, m)))
    return q[:n]


def everything(n: int) -> MatchedRows:
    """Return the rows 0 to n - 1 of both, all of them to be fitted."""
    ids = np.arange(n, dtype=np.int32)
    return MatchedRows(ids, ids, np.ones(n, bool))


@pytest.mark.parametrize("width", [D, 9])
def test_a_known_rotation_is_found(width: int) -> None:
    A = np.random.default_rng(0).normal(size=(N, D)) + 3
    Q = orthogonal(D, width)
    B = A @ Q + np.linspace(-2, 5, width)
    there = align(torch.from_numpy(A), torch.from_numpy(B), everything(N))
    np.testing.assert_allclose(there.rotation.R.numpy(), Q, atol=1e-13)
    np.testing.assert_allclose(there.distances, 0, atol=1e-13)
    np.testing.assert_allclose(there.cosines, 1, atol=1e-14)
    assert there.residual < 1e-12
    np.testing.assert_allclose(there.rotation.scale, 1, rtol=1e-13)
    # The wider onto the narrower is the same, as the narrower is the one that is turned.
    back = align(torch.from_numpy(B), torch.from_numpy(A), everything(N))
    np.testing.assert_allclose(back.rotation.R.numpy(), Q if width > D else Q.T, atol=1e-13)
    assert back.residual < 1e-12


def test_the_residual_is_that_of_scipys_rotation() -> None:
    generator = np.random.default_rng(3)
    A, B = generator.normal(size=(N, D)) + 1, generator.normal(size=(N, D)) * 2
    own, other = generator.permutation(N)[:40], generator.permutation(N)[:40]
    fitted = np.arange(40) % 4 > 0
    found = align(torch.from_numpy(A), torch.from_numpy(B), MatchedRows(own.astype("i4"), other.astype("i4"), fitted))
    X, Y = A[own], B[other]
    X, Y = X - X[fitted].mean(axis=0), Y - Y[fitted].mean(axis=0)
    R, total = orthogonal_procrustes(X[fitted], Y[fitted])
    np.testing.assert_allclose(found.rotation.R.numpy(), R, atol=1e-12)
    np.testing.assert_allclose(found.distances, np.linalg.norm(X @ R - Y, axis=1), rtol=1e-12)
    cosines = (X @ R * Y).sum(axis=1) / np.linalg.norm(X, axis=1) / np.linalg.norm(Y, axis=1)
    np.testing.assert_allclose(found.cosines, cosines, atol=1e-13)
    np.testing.assert_allclose(found.residual, np.linalg.norm(X[fitted] @ R - Y[fitted]), rtol=1e-12)
    np.testing.assert_allclose(found.relative, found.residual / np.linalg.norm(Y[fitted]), rtol=1e-12)
    scale = found.rotation.scale
    np.testing.assert_allclose(scale, total / np.linalg.norm(X[fitted]) ** 2, rtol=1e-12)
    # No other scale comes nearer.
    lengths = [np.linalg.norm(s * X[fitted] @ R - Y[fitted]) for s in (0.99 * scale, scale, 1.01 * scale)]
    assert min(lengths) == lengths[1]


def test_no_other_rotation_of_the_narrower_comes_nearer() -> None:
    generator = np.random.default_rng(4)
    A, B = generator.normal(size=(N, 3)), generator.normal(size=(N, 5))
    found = align(torch.from_numpy(A), torch.from_numpy(B), everything(N))
    X, Y = A - A.mean(axis=0), B - B.mean(axis=0)
    best = np.linalg.norm(X @ found.rotation.R.numpy() - Y)
    np.testing.assert_allclose(found.residual, best, rtol=1e-12)
    assert all(np.linalg.norm(X @ orthogonal(3, 5, seed) - Y) > best for seed in range(200))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of `a`, `b` (which is a turned, but for some rows), `wide` and `empty`. Copy it to change it."""
    catalog = tmp_path_factory.mktemp("alignment") / "c"
    A = bf16_matrix(N, D).float()
    B = A @ torch.from_numpy(orthogonal(D, D)).float()
    A[5, 0], B[6, 1] = float("nan"), float("inf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("token_catalog.catalog.definitions.definitions", list)  # but for the last, which builds all
        ingest_bare(catalog, A, "a")
        ingest_bare(catalog, B, "b")
        ingest_bare(catalog, bf16_matrix(4, 8), "wide")
        ingest_bare(catalog, torch.ones(N, D), "same")
    ingest_bare(catalog, B, "empty", with_vectors=False)
    return catalog


@pytest.fixture
def catalog(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the catalog."""
    return Path(shutil.copytree(made, tmp_path / "c", symlinks=True))


def test_an_alignment_is_stored_beside_the_rows_and_stays(catalog: Path, tmp_path: Path) -> None:
    (before,) = rows(catalog, "select count(*), max(aligned_distance) from compare_tokens('a', 'b')")
    assert before == (N, None)
    done = run("compare", "a", "b", "--align", "-o", tmp_path / "rows.parquet", "--catalog", catalog)
    assert done.returncode == 0, done.stderr
    assert "a: aligned with b by 58 tokens: residual " in done.stdout
    assert "added to a in" in done.stdout
    figures = dict(line.rsplit(maxsplit=1) for line in done.stdout.splitlines() if line.startswith(("m", "on", "eq")))
    assert figures == {"matched": "60", "only in A": "0", "only in B": "0", "equal bit for bit": "0"} | {
        "median distance": figures["median distance"]
    }
    written = pq.read_table(tmp_path / "rows.parquet")
    asked = "from compare_tokens('a', 'b')"
    assert [repr(tuple(row.values())) for row in written.to_pylist()] == [*map(repr, rows(catalog, asked))]
    found = written["aligned_distance"].to_pylist()
    assert [i for i, distance in enumerate(found) if distance is None] == [5, 6]
    assert max(distance for distance in found if distance is not None) < 1e-7  # b is rounded to fp32
    stored = "select other, n_tokens, n_dims, other_n_dims, residual < 1e-7, abs(scale - 1) < 1e-6 from alignments"
    assert rows(catalog, stored) == [("b", 58, D, D, True, True)]
    assert rows(catalog, "select count(*), count_if(fitted) from aligned_tokens where token_id = other_token_id") == [
        (58, 58)
    ]
    model = token_catalog.open(catalog)["a"]
    (path,) = model.files("aligned_tokens")
    inode = path.stat().st_ino
    model.add_references({"reference": [{"name": "h", "token": 7}]})
    model.relink(radius=0.01, threshold=0.01)
    (path,) = model.files("aligned_tokens")
    assert path.stat().st_ino == inode
    assert rows(catalog, stored) == [("b", 58, D, D, True, True)]


def test_a_new_alignment_takes_the_place_of_one_with_the_same_model(catalog: Path) -> None:
    model = token_catalog.open(catalog)["a"]
    for other in ("b", "wide", "b"):
        model.align(other)
    told = "select other, count(*), min(n_tokens) from alignments group by other order by other"
    assert rows(catalog, told) == [("b", 1, 58), ("wide", 1, 4)]
    told = "select other, count(*) from aligned_tokens group by other order by other"
    assert rows(catalog, told) == [("b", 58), ("wide", 4)]


def test_ambiguous_tokens_are_told_of_but_not_fitted(catalog: Path, tables_only: None) -> None:
    """Of the first 20, each matched with its like, but for 3 that are ambiguous, and matched with another."""
    ids = np.arange(20, dtype=np.int32)
    others = np.where(ids % 8 == 2, ids + 30, ids)
    matched = pa.table({"token_a": ids, "token_b": others, "ambiguous": ids % 8 == 2})
    align_models(catalog, "a", "b", read_state(catalog).models, matched)
    assert rows(catalog, "select n_tokens, residual < 1e-7 from alignments") == [(15, True)]
    told = rows(catalog, "select token_id, other_token_id, fitted, distance < 1e-7 from aligned_tokens order by all")
    expected = [(i, o, i == o, i == o) for i, o in zip(ids.tolist(), others.tolist(), strict=True) if i not in (5, 6)]
    assert told == expected


@pytest.mark.parametrize("model", ["a", "b"])
def test_models_that_were_replaced_since_their_tokens_were_matched_are_not_aligned(made: Path, model: str) -> None:
    matched = pa.table({"token_a": [0, 1], "token_b": [0, 1], "ambiguous": [False, False]})
    versions = read_state(made).models | {model: Version(model, "models/gone/20260101")}
    with pytest.raises(CatalogError, match=f"^{model}: was replaced in the meantime; nothing was changed: try again"):
        align_models(made, "a", "b", versions, matched)


def test_an_alignment_with_what_is_another_matrix_now_is_not_told(catalog: Path) -> None:
    table = token_catalog.open(catalog)["a"].compare("b", align=True)
    assert table["aligned_distance"].null_count == 2
    ingest_bare(catalog, bf16_matrix(N, D, seed=5), "b", replace=True)
    assert token_catalog.open(catalog)["a"].compare("b")["aligned_distance"].null_count == N
    assert rows(catalog, "select count(*) from alignments") == [(1,)]


def test_too_few_tokens_for_one_rotation_are_warned_of(catalog: Path) -> None:
    (warning,) = token_catalog.open(catalog)["a"].align("wide").warnings
    assert warning.startswith("a: the 4 tokens in common with wide settle 3 of 6 directions; how the others are turned")


BAD = {
    "no model": (["a", "nix"], "'nix': no such model; the catalog has: a, b, empty, same, wide"),
    "without vectors": (["a", "empty"], "empty: was ingested with --no-vectors, so its rows aren't here"),
    "all equal": (["a", "same"], "a, same: the rows of 59 tokens of both are all equal in one of the models"),
    "suffix": (["a", "b", "-o", "rows.txt"], "--output rows.txt: is written by its suffix; one of .parquet, .csv"),
    "device": (["a", "b", "--device", "abacus"], "--device abacus: unknown; one of auto, cuda, mps, cpu"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD)
def test_what_cant_be_aligned_is_refused_and_nothing_changes(made: Path, words: list[str], message: str) -> None:
    before = token_catalog.open(made).files("models")
    assert message in refused("compare", *words, "--align", "--catalog", made)
    assert token_catalog.open(made).files("models") == before


def test_one_token_is_too_few(made: Path) -> None:
    with pytest.raises(CatalogError, match="1 tokens to fit a rotation to: of both, not ambiguous, with finite rows"):
        align(torch.eye(3), torch.eye(3), everything(1))


def test_rows_go_out_as_csv(made: Path, tmp_path: Path) -> None:
    done = run("compare", "a", "wide", "--output", tmp_path / "rows.csv", "--catalog", made)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert lines[0].startswith('"token_a","token_b","text","match","ambiguous"')
    assert len(lines) == N + 1
    assert "median" not in done.stdout  # of other widths


def test_a_model_from_before_there_were_alignments_can_be_aligned(tmp_path: Path) -> None:
    stored = Path(__file__).parents[1] / "support" / "stored" / "0.1.0"
    catalog = token_catalog.open(shutil.copytree(stored, tmp_path / "c", symlinks=True))
    catalog.rebuild()
    table = catalog["small"].compare("small", align=True)
    assert {*table["match"].to_pylist()} == {"both"}
    told = [d for d in table["aligned_distance"].to_pylist() if d is not None]
    assert len(told) > 200
    assert max(told) < 1e-12
