"""Means of rows: each element the fp32 nearest to the exact mean, whatever the order."""

import math
from fractions import Fraction
from itertools import permutations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.oracle_bf16 import FP32, exact_mean, nearest_fp32
from token_catalog.ingest.arithmetic import arrays
from token_catalog.ingest.arithmetic import means as centroids
from token_catalog.ingest.arithmetic.means import centroid


def ids(n: int) -> npt.NDArray[np.int32]:
    """Return the numbers of the first rows."""
    return np.arange(n, dtype=np.int32)


@settings(max_examples=200)
@given(st.integers(1, 4).flatmap(lambda d: st.lists(st.lists(FP32, min_size=d, max_size=d), min_size=1, max_size=7)))
@example([[3.4028234663852886e38]])  # the largest fp32
def test_every_element_is_the_fp32_nearest_to_the_exact_mean(rows: list[list[float]]) -> None:
    assert centroid(torch.tensor(rows), ids(len(rows))).tolist() == exact_mean(rows)


def test_a_sum_that_fp64_loses_is_found() -> None:
    """1 and 2⁶⁰ - 2⁶⁰ sum to 1, whatever the order; fp64 gives 0 where the large ones come first."""
    W = torch.tensor([[2.0**60], [1.0], [-(2.0**60)]])
    for order in ([0, 1, 2], [1, 0, 2], [0, 2, 1]):
        assert centroid(W, np.array(order, np.int32)).tolist() == [nearest_fp32(Fraction(1, 3))]


def test_what_rounding_loses_of_a_sum_is_added_back() -> None:
    """2⁶⁰ + 2⁶ is 2⁶⁰ in fp64; of the four, 2¹⁰ + 2⁶ is left, in columns enough to be summed in twice the precision."""
    column = torch.tensor([2.0**60, 2.0**10, 2.0**6, -(2.0**60)])
    W = column[:, None].repeat(1, centroids.MOST_ALONE + 1)
    for order in permutations(range(4)):
        assert centroid(W, np.array(order, np.int32)).tolist() == [272.0] * (centroids.MOST_ALONE + 1)


def test_a_mean_that_fp32_rounds_to_zero_from_below_is_no_minus_zero() -> None:
    """A third of -2⁻¹⁴⁹, the smallest number of fp32 below zero."""
    (mean,) = centroid(torch.tensor([[-(2.0**-149)], [0.0], [0.0]]), ids(3)).tolist()
    assert (mean, math.copysign(1, mean)) == (0, 1)


def test_a_tie_goes_to_the_even_one_and_a_hair_aside_does_not() -> None:
    """The mean of 1 and 1 + 2⁻²³ is halfway between two fp32; 2⁻¹⁴⁹ more breaks the tie."""
    W = torch.tensor([[1.0, 1.0], [1.0 + 2.0**-23, 1.0 + 2.0**-23], [0.0, 2.0**-149]])
    assert centroid(W[:2], ids(2)).tolist() == [1.0, 1.0]
    doubled = torch.cat([W, torch.tensor([[1.0, 1.0]])])  # 3 + 2⁻²³ (+ 2⁻¹⁴⁹), over 4
    assert centroid(doubled, ids(4)).tolist() == exact_mean(doubled.tolist())


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_order_block_size_and_threads_change_nothing(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(5)
    W = (torch.randn(400, 30, generator=generator) * 0.02).to(dtype)
    chosen = ids(400)[::3]
    expected = exact_mean(W[torch.from_numpy(chosen.astype(np.int64))].tolist())
    for n_threads, n_bytes in ((1, 1), (2, 5 * 8 * 30), (2, 1 << 30)):
        monkeypatch.setattr(arrays, "CPU_BYTES", n_bytes)
        torch.set_num_threads(n_threads)
        assert centroid(W, chosen).tolist() == expected
        assert centroid(W, np.random.default_rng(n_threads).permutation(chosen)).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_means_that_nearly_cancel_are_exact_without_a_sum_in_integers_for_each(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A matrix less its means, where fp64 leaves every column open; and one of rows and their opposites."""
    W = torch.randn(600, 40, generator=torch.Generator().manual_seed(8)) * 0.05
    W = (W.double() - W.double().mean(dim=0)).to(dtype)
    exactly: list[int] = []
    original = centroids._exact_mean
    monkeypatch.setattr(centroids, "_exact_mean", lambda values: exactly.append(len(values)) or original(values))
    monkeypatch.setattr(arrays, "CPU_BYTES", 70 * 8 * 40)
    assert centroid(W, ids(600)).tolist() == exact_mean(W.tolist())
    assert len(exactly) <= centroids.MOST_ALONE
    exactly.clear()
    assert centroid(torch.cat([W, -W]), ids(1200)).tolist() == [0.0] * 40
    assert len(exactly) == 40


@settings(max_examples=100)
@given(st.lists(st.lists(FP32, min_size=12, max_size=12), min_size=1, max_size=6))
def test_twice_the_precision_is_bounded_as_it_says(rows: list[list[float]]) -> None:
    W = torch.tensor(rows + [[-value for value in row] for row in rows[::-1]] + rows[:1])
    assert centroid(W, ids(len(W))).tolist() == exact_mean(W.tolist())
