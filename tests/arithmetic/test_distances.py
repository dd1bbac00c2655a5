"""Distances to the last bit, and the bounds that stand for them, against plain NumPy and exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.oracle_linkage import halved, naive_distances
from token_catalog.ingest.arithmetic import arrays
from token_catalog.ingest.arithmetic.distances import (
    RELATIVE_ERROR,
    Bounds,
    distances,
    distances_to,
    pairwise_sum_of_squares,
)

DTYPES = [torch.bfloat16, torch.float16, torch.float32]
# An odd number below a power of two, one above, one just past, and MiniLM's.
WIDTHS = [3, 5, 17, 100, 384]
FP32 = st.floats(allow_nan=False, allow_infinity=False, width=32)


def spread_rows(n_rows: int, n_dims: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    """Return rows of lengths from a hundredth to a hundred, half of them a hair away from another."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n_rows, n_dims, generator=generator) * torch.logspace(-2, 2, n_rows)[:, None]
    rows[1::2] = rows[: n_rows - n_rows % 2 : 2] * (1 + torch.rand(n_rows // 2, n_dims, generator=generator) / 50)
    return rows.to(dtype)


def exact_square(a: list[float], b: list[float]) -> Fraction:
    """Return the squared distance without any rounding."""
    return sum(((Fraction(x) - Fraction(y)) ** 2 for x, y in zip(a, b, strict=True)), Fraction(0))


def test_the_reference_adds_as_the_contract_says() -> None:
    """To 1, which takes 2⁻⁵³ without moving, either of the others by itself; or both at once, as 2⁻⁵²."""
    tiny = 2.0**-53
    assert halved(np.array([1.0, tiny, tiny])) == 1.0  # (1 + tiny) + (tiny + 0)
    assert halved(np.array([tiny, 1.0, tiny])) == 1.0 + 2.0**-52  # (tiny + tiny) + (1 + 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_dims", WIDTHS)
def test_distances_are_the_contract_s_to_the_last_bit_in_chunks_of_any_size(
    dtype: torch.dtype, n_dims: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    W = spread_rows(101, n_dims, dtype)
    i, j = (np.random.default_rng(seed).integers(0, 101, 400).astype(np.int32) for seed in (1, 2))
    X = W.double().numpy()
    expected = naive_distances(X[i], X[j])
    assert 0 < np.count_nonzero(expected == 0) < 20  # a row from itself
    for n_bytes in (1, 8 * n_dims * 7, 8 * n_dims * 399, arrays.CPU_BYTES):
        monkeypatch.setattr(arrays, "CPU_BYTES", n_bytes)
        assert distances(W, i, j).tobytes() == expected.tobytes()
    assert distances(W, j, i).tobytes() == expected.tobytes()


def test_no_pairs_have_no_distances() -> None:
    none = np.empty(0, np.int32)
    assert distances(torch.eye(3), none, none).shape == (0,)


@given(st.lists(st.tuples(FP32, FP32), min_size=1, max_size=9))
@settings(max_examples=50)
def test_a_distance_is_within_a_few_roundings_of_the_exact_one(pairs: list[tuple[float, float]]) -> None:
    a, b = (list(row) for row in zip(*pairs, strict=True))
    W = torch.tensor([a, b], dtype=torch.float32)
    got = Fraction(float(distances(W, np.array([0]), np.array([1]))[0]))
    exact = exact_square(a, b)
    assert abs(got**2 - exact) <= exact * 16 * Fraction(1, 2**53)


def within_its_error(rows: torch.Tensor, vectors: torch.Tensor) -> None:
    """Check the distances of rows from vectors against exact fractions, by their squares."""
    found = distances_to(rows.double(), vectors.double())
    for row, own in zip(rows.double().tolist(), found.tolist(), strict=True):
        for vector, distance in zip(vectors.double().tolist(), own, strict=True):
            exact = exact_square(row, vector)
            assert abs(Fraction(distance) ** 2 - exact) <= exact * 2 * Fraction(RELATIVE_ERROR)


@given(st.lists(st.tuples(FP32, FP32, FP32, FP32), min_size=1, max_size=9))
@settings(max_examples=100)
def test_distances_to_vectors_are_within_their_error_of_the_exact_ones(
    columns: list[tuple[float, float, float, float]],
) -> None:
    within_its_error(*torch.tensor(list(zip(*columns, strict=True)), dtype=torch.float32).split(2))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_dims", WIDTHS)
def test_distances_to_vectors_do_not_cancel(dtype: torch.dtype, n_dims: int) -> None:
    """From a row itself 0; from one a step away in one column, that step; the other rows are a hair away or far."""
    rows = spread_rows(60, n_dims, dtype)
    beside = rows[7].clone()
    beside[1] = torch.nextafter(beside[1], torch.tensor(torch.inf, dtype=dtype))
    vectors = torch.stack([rows[7], beside, rows[6] * 1.25, torch.zeros_like(beside)])
    within_its_error(rows, vectors)
    itself, step = distances_to(rows[7:8].double(), vectors[:2].double())[0].tolist()
    assert (itself, step) == (0.0, float(beside[1].double() - rows[7, 1].double()))


@pytest.mark.parametrize(("far", "n_settled"), [(1.0, 40), (1e-3, 0)])
def test_far_distances_are_left_to_the_product_and_near_ones_are_not(
    far: float, n_settled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = torch.ones(40, 64).double() + far * torch.randn(40, 64, generator=torch.Generator().manual_seed(8)).double()
    measured = []

    def counted(differences: torch.Tensor) -> torch.Tensor:
        measured.append(len(differences))
        return pairwise_sum_of_squares(differences)

    monkeypatch.setattr("token_catalog.ingest.arithmetic.distances.pairwise_sum_of_squares", counted)
    within_its_error(rows, torch.ones(1, 64))
    assert 40 - sum(measured) == n_settled


def test_rows_that_are_not_finite_have_no_distance_and_disturb_no_other() -> None:
    rows = torch.tensor([[1.0, float("nan")], [float("inf"), 0.0], [3.0, 4.0]])
    found = distances_to(rows.double(), torch.zeros(2, 2).double())
    assert found.isfinite().tolist() == [[False] * 2, [False] * 2, [True] * 2]
    assert found[2].tolist() == [5.0, 5.0]


def enclosed(first: torch.Tensor, second: torch.Tensor) -> None:
    """Check the bounds of all pairs of two blocks against the fp64 distances, and of a few against exact fractions."""
    least, most = (bound.numpy() for bound in Bounds(first).to(Bounds(second)))
    a, b = first.double().numpy(), second.double().numpy()
    found = naive_distances(a[:, None], b[None])
    assert least.shape == most.shape == found.shape
    assert (least >= 0).all()
    assert (least <= found**2).all()
    assert (found**2 <= most).all()
    for i, j in {(0, 0), (0, 1), (1, 0), (2, 3), (len(a) - 1, 0), (0, len(b) - 1), (len(a) - 1, len(b) - 1)}:
        for square in (exact_square(a[i].tolist(), b[j].tolist()), Fraction(float(found[i, j])) ** 2):
            assert Fraction(float(least[i, j])) <= square <= Fraction(float(most[i, j]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_dims", WIDTHS)
def test_bounds_enclose_squared_distances(dtype: torch.dtype, n_dims: int) -> None:
    enclosed(spread_rows(60, n_dims, dtype), spread_rows(41, n_dims, dtype, seed=1))
    enclosed(spread_rows(60, n_dims, dtype), spread_rows(60, n_dims, dtype))


@pytest.mark.parametrize("n_dims", WIDTHS)
def test_bounds_enclose_the_distances_of_rows_far_out_that_are_nearly_equal(n_dims: int) -> None:
    """Norms of 1e4·√n, differences of one fp32 step: ‖a‖² + ‖b‖² - 2ab has no correct digit left."""
    generator = torch.Generator().manual_seed(3)
    base = 1e4 * (1 + torch.rand(n_dims, generator=generator))
    steps = torch.randint(-1, 2, (50, n_dims), generator=generator)
    rows = torch.where(steps > 0, torch.nextafter(base, base * 2), base)
    rows = torch.where(steps < 0, torch.nextafter(base, base * 0), rows)
    enclosed(rows, rows)


@pytest.mark.parametrize("n_dims", WIDTHS)
def test_bounds_enclose_the_distances_of_huge_rows_from_tiny_ones(n_dims: int) -> None:
    sizes = torch.logspace(-44, 38, 45, dtype=torch.float64)[:, None]
    rows = (sizes * torch.randn(45, n_dims, generator=torch.Generator().manual_seed(4))).clamp(-3e38, 3e38).float()
    assert rows.isfinite().all()
    enclosed(rows, rows)
    enclosed(rows, torch.cat([rows.flip(0), torch.zeros(1, n_dims)]))


def test_bounds_are_narrow_beside_the_norms() -> None:
    """Of rows of norm 1, all squared distances to 1e-11: enough to settle nearly every pair."""
    rows = torch.randn(30, 384, generator=torch.Generator().manual_seed(5))
    rows /= torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    least, most = Bounds(rows).to(Bounds(rows))
    assert (most - least).max() < 1e-11


@given(st.lists(st.tuples(FP32, FP32, FP32), min_size=1, max_size=9))
@settings(max_examples=50)
def test_bounds_enclose_the_exact_squared_distances_of_any_rows(columns: list[tuple[float, float, float]]) -> None:
    values = [list(row) for row in zip(*columns, strict=True)]
    rows = Bounds(torch.tensor(values, dtype=torch.float32))
    least, most = (bound.tolist() for bound in rows.to(rows))
    for i, a in enumerate(values):
        for j, b in enumerate(values):
            assert Fraction(least[i][j]) <= exact_square(a, b) <= Fraction(most[i][j])
