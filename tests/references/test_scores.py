"""Scores: certified ones against exact fractions, native ones against the notebooks' own expressions."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.helpers import bf16_matrix
from tests.support.oracle_bf16 import BF16, SMALL_BF16, exact_dot, exact_scores, nearest_by_search, rounded
from token_catalog.ingest.arithmetic import arrays
from token_catalog.ingest.arithmetic.bf16 import norm_bf16
from token_catalog.ingest.references.scores import certified, native, query_vector, score
from token_catalog.ingest.report import Report

CPU = torch.device("cpu")
CERTIFIED = ("dot_bf16", "cosine_bf16")


def norms(W: torch.Tensor) -> Any:
    """Return norm_bf16 of rows, 0 where one isn't finite."""
    rows = W.to(torch.bfloat16).double()
    finite = torch.isfinite(W).all(dim=1)
    return norm_bf16(torch.where(finite[:, None], rows, 0.0)).numpy()


def own(W: torch.Tensor) -> Any:
    """Return each row as its own duplicate."""
    return np.arange(len(W), dtype=np.int32)


def scored(W: torch.Tensor, vectors: list[Any]) -> list[dict[str, Any]]:
    """Return the certified columns of W for vectors."""
    return certified(W, norms(W.cpu()), own(W), [query_vector(np.asarray(vector, np.float32)) for vector in vectors])


@settings(max_examples=150)
@given(
    st.integers(1, 5).flatmap(
        lambda d: st.tuples(
            st.lists(st.lists(BF16 | SMALL_BF16, min_size=d, max_size=d), min_size=1, max_size=5),
            st.lists(st.floats(width=32, min_value=-(2.0**100), max_value=2.0**100), min_size=d, max_size=d),
        )
    )
)
def test_certified_scores_equal_exact_arithmetic(given_: tuple[list[list[float]], list[float]]) -> None:
    rows, h = given_
    if not any(rounded(h)):
        with pytest.raises(ValueError, match="is zero"):
            query_vector(np.array(h, np.float32))
        return
    W = torch.tensor(rows).bfloat16()
    (columns,) = scored(W, [h])
    dots, cosines = (columns[name].tolist() for name in CERTIFIED)
    for row, dot, cosine, norm in zip(rows, dots, cosines, norms(W), strict=True):
        expected_dot, expected_cosine = exact_scores(row, h)
        assert dot == expected_dot
        # A norm past the largest bf16 makes every quotient 0.
        assert cosine == (expected_cosine if math.isfinite(norm) else 0.0)


def test_the_tokens_nearest_to_a_rounding_boundary_are_rounded_as_exact_fractions_are() -> None:
    W = bf16_matrix(3000, 200, seed=3)
    h = W[7].double().numpy() * 1.01
    (columns,) = scored(W, [h])
    dots = columns["dot"]
    steps = 2.0 ** (np.floor(np.log2(np.abs(dots))) - 7)
    to_midpoint = np.abs(np.abs(dots / steps) % 1 - 0.5)
    h16 = rounded(np.asarray(h, np.float32).tolist())
    for i in np.argsort(to_midpoint)[:40].tolist():
        expected = exact_scores(W[i].tolist(), np.asarray(h, np.float32).tolist())
        assert (columns["dot_bf16"][i], columns["cosine_bf16"][i]) == expected
        assert dots[i] == pytest.approx(float(exact_dot(W[i].tolist(), h16)), rel=1e-13)


def test_what_follows_from_a_reference_is_rounded_once() -> None:
    h = np.array([0.1, -1 / 3, 5.0, 1e-40], np.float32)
    there = query_vector(h)
    exact = [Fraction(float(value)) for value in h]
    length = Fraction(math.isqrt(int(sum(v * v for v in exact) * 10**120)), 10**60)
    assert there.h16.tolist() == [nearest_by_search(value) for value in exact]
    assert there.r16.tolist() == [nearest_by_search(value / length) for value in exact]
    square = exact_dot(there.h16.tolist(), there.h16.tolist())
    assert there.self_dot_bf16 == nearest_by_search(square)
    assert there.norm == pytest.approx(math.sqrt(square), rel=1e-15)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([0, 0, 0], "is zero"),
        ([1e-42, 0, 0], "is zero"),  # under half of bf16's smallest number
        ([1, math.nan, 0], "has a NaN"),
        ([math.inf, 0, 0], "has a NaN, an infinity"),
        ([3.4e38, 0, 0], "past bf16's range"),
    ],
)
def test_a_vector_that_points_nowhere_is_refused(vector: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        query_vector(np.array(vector, np.float32))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_threads_chunks_and_the_order_of_rows_change_no_certified_score(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    W = bf16_matrix(500, 64, seed=9).float()
    W = (W * 1.37).to(dtype)
    vectors = [W[3].float().numpy(), W.double().mean(dim=0).float().numpy()]
    expected = scored(W, vectors)
    shuffled = torch.randperm(500, generator=torch.Generator().manual_seed(2))
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        for n_rows in (1, 7, 499, 500):
            monkeypatch.setattr(arrays, "CPU_BYTES", n_rows * 8 * 64)
            for order in (torch.arange(500), shuffled):
                for before, after in zip(expected, scored(W[order], vectors), strict=True):
                    for name in CERTIFIED:
                        assert np.array_equal(before[name][order.numpy()], after[name])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU at hand")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_gpu_gives_the_same_certified_scores(dtype: torch.dtype) -> None:
    W = (bf16_matrix(5000, 300, seed=9).float() * 1.37).to(dtype)
    vectors = [W[3].float().numpy(), W.double().mean(dim=0).float().numpy()]
    for cpu, cuda in zip(scored(W, vectors), scored(W.cuda(), vectors), strict=True):
        for name in CERTIFIED:
            assert np.array_equal(cpu[name], cuda[name])


def test_native_scores_are_the_notebooks_own_expressions() -> None:
    """1.5c: W_bf16 @ h_bf16. 1.4a: (W_bf16 / W_bf16.norm(dim=1, keepdim=True)) @ ref_bf16."""
    W = bf16_matrix(4000, 256, seed=5)
    there = [query_vector(W[i].float().numpy() * 3) for i in (1, 2)]
    devices = [CPU, *([torch.device("cuda")] if torch.cuda.is_available() else [])]
    for device in devices:
        W_device = W.to(device)
        W_norm = W_device / W_device.norm(dim=1, keepdim=True)
        for p, found in zip(there, native(W, there, device), strict=True):
            h, r = (torch.tensor(v.tolist()).to(torch.bfloat16).to(device) for v in (p.h16, p.r16))
            assert np.array_equal(found["dot_native"], (W_device @ h).float().cpu().numpy())
            assert np.array_equal(found["cosine_native"], (W_norm @ r).float().cpu().numpy())


def test_rows_that_are_not_finite_or_zero_have_no_score_or_no_cosine() -> None:
    W = bf16_matrix(6, 4)
    W[1], W[2, 0], W[3, 1], W[4] = 0, math.nan, math.inf, torch.tensor([-0.0, 0, 0, 0])
    (columns,) = score(W, norms(W), own(W), [query_vector(W[0].float().numpy())], CPU, Report().stage)
    missing = [False, False, True, True, False, False]
    for name in ("dot", "dot_bf16", "dot_native", "distance"):
        assert np.ma.getmaskarray(columns[name]).tolist() == missing
        assert [math.copysign(1, value) for value in columns[name][[1, 4, 0]]] == [1, 1, 1]
    for name in ("cosine", "cosine_bf16", "cosine_native"):
        assert np.ma.getmaskarray(columns[name]).tolist() == [False, True, True, True, True, False]


def test_an_fp32_row_past_bf16s_range_has_no_score_and_disturbs_no_other() -> None:
    W = torch.tensor([[3.4e38, 1.0], [1.0, 2.0]])
    (columns,) = scored(W, [[1.0, 1.0]])
    assert columns["dot"].tolist() == [None, 3.0]
    assert columns["distance"].tolist() == [
        pytest.approx(float(np.float32(3.4e38)), rel=1e-12),
        pytest.approx(1.0, rel=1e-12),
    ]
    assert columns["cosine_bf16"].tolist() == [None, exact_scores([1.0, 2.0], [1.0, 1.0])[1]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_distances_are_of_the_stored_values_from_h_as_it_is(dtype: torch.dtype) -> None:
    """Neither is rounded to bf16: an fp32 row is at 0 from itself, and h a third of a step off is that far."""
    W = (bf16_matrix(60, 33).float() * 1.37).to(dtype)
    W[3], W[4, 5] = W[2], -0.0
    near = W[2].float().numpy() * np.float32(1.0001)
    vectors = [W[2].float().numpy(), near, W.double().mean(dim=0).float().numpy()]
    X = [[Fraction(value) for value in row] for row in W.double().tolist()]
    for vector, columns in zip(vectors, scored(W, vectors), strict=True):
        h = [Fraction(value) for value in vector.astype(np.float64).tolist()]
        for row, distance in zip(X, columns["distance"].tolist(), strict=True):
            square = sum(((x - y) ** 2 for x, y in zip(row, h, strict=True)), Fraction(0))
            assert abs(Fraction(distance) ** 2 - square) <= square * 2 * Fraction(1e-12)
        assert (columns["distance"][2] == 0) == (vector is vectors[0])
        assert columns["distance"][2] == columns["distance"][3]


def test_equal_rows_have_equal_scores_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    W = bf16_matrix(50, 33)
    W[49] = W[0]
    monkeypatch.setattr(arrays, "CPU_BYTES", 8 * 8 * 33)
    duplicate_of = own(W)
    duplicate_of[49] = 0
    (columns,) = certified(W, norms(W), duplicate_of, [query_vector(W[5].float().numpy())])
    for name, values in columns.items():
        assert values[0] == values[49], name


def test_no_cosine_is_past_one_and_a_row_is_at_one_to_itself() -> None:
    W = bf16_matrix(100, 50)
    for i in range(0, 100, 9):
        (columns,) = scored(W, [W[i].float().numpy()])
        assert columns["cosine"].max() <= 1
        assert columns["cosine"][i] == pytest.approx(1, abs=1e-15)
        assert columns["dot_bf16"][i] == query_vector(W[i].float().numpy()).self_dot_bf16
