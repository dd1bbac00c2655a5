"""Correctly rounded bf16, against exact fractions."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.oracle_bf16 import BF16, SMALL_BF16, bf16_value, exact_dot, nearest_by_search, nearest_root_by_search
from token_catalog.ingest.arithmetic import bf16 as rounding
from token_catalog.ingest.arithmetic.bf16 import (
    dot_bf16,
    dots_bf16,
    nearest_bf16,
    norm_bf16,
    quotient_bf16,
    rounded_to_odd,
    unit_bf16,
)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_any_fp64_value_goes_to_the_nearest_bf16_in_one_rounding(values: list[float]) -> None:
    got = nearest_bf16(torch.tensor(values, dtype=torch.float64)).tolist()
    assert got == [nearest_by_search(Fraction(value)) for value in values]


def test_every_midpoint_between_neighbours_goes_to_the_even_one_and_a_hair_aside_does_not() -> None:
    for bits in range(0x7F7F):
        low, high = bf16_value(bits), bf16_value(bits + 1)
        middle = (low + high) / 2
        around = [math.nextafter(middle, 0), middle, math.nextafter(middle, math.inf)]
        even = low if bits % 2 == 0 else high
        assert nearest_bf16(torch.tensor(around, dtype=torch.float64)).tolist() == [low, even, high], hex(bits)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_past_the_largest_bf16_there_is_infinity_from_the_midpoint_on(sign: float) -> None:
    largest = bf16_value(0x7F7F)
    midpoint = (2.0 - 2.0**-8) * 2.0**127
    values = torch.tensor([largest, math.nextafter(midpoint, 0), midpoint, 1e308], dtype=torch.float64) * sign
    assert nearest_bf16(values).tolist() == [largest * sign, largest * sign, math.inf * sign, math.inf * sign]


def test_nan_stays_nan_and_minus_zero_becomes_zero() -> None:
    got = nearest_bf16(torch.tensor([math.nan, -0.0, -1e-300], dtype=torch.float64))
    assert math.isnan(got[0])
    assert [math.copysign(1, value) for value in got[1:].tolist()] == [1, 1]


def test_on_every_fp32_it_agrees_with_torchs_own_single_rounding() -> None:
    generator = torch.Generator().manual_seed(1)
    bits = torch.randint(-(2**31), 2**31 - 1, (1_000_000,), generator=generator, dtype=torch.int64).to(torch.int32)
    values = bits.view(torch.float32)
    values = values[torch.isfinite(values)]
    assert torch.equal(nearest_bf16(values.double()), values.bfloat16().float() + 0.0)


@given(st.integers(1, 6).flatmap(lambda n: st.tuples(*[st.lists(BF16 | SMALL_BF16, min_size=n, max_size=n)] * 2)))
def test_a_dot_product_is_the_bf16_nearest_to_the_exact_sum(vectors: tuple[list[float], list[float]]) -> None:
    a, b = vectors
    got = dot_bf16(torch.tensor([a], dtype=torch.float64), torch.tensor(b, dtype=torch.float64))
    assert got.tolist() == [nearest_by_search(exact_dot(a, b))]


@given(st.lists(BF16 | SMALL_BF16, min_size=1, max_size=6))
def test_a_norm_is_the_bf16_nearest_to_the_exact_root(row: list[float]) -> None:
    got = norm_bf16(torch.tensor([row], dtype=torch.float64))
    assert got.tolist() == [nearest_root_by_search(exact_dot(row, row))]


def test_a_tie_that_only_a_tiny_term_breaks_is_settled_exactly() -> None:
    """1 + 2⁻⁸ is halfway between 1 and 1 + 2⁻⁷; adding 2⁻¹²⁰ is far below fp64's last bit, and decides."""
    ones = torch.ones(3, dtype=torch.float64)
    rows = torch.tensor([[1, 2**-8, 0], [1, 2**-8, 2**-120], [1, 2**-8, -(2**-120)]], dtype=torch.float64)
    assert dot_bf16(rows, ones).tolist() == [1.0, 1.0078125, 1.0]


def test_a_norm_exactly_halfway_between_two_bf16_goes_to_the_even_one() -> None:
    """The root of 1.00390625² is a midpoint: 257² = 66049 = 256² + 22² + 5² + 2² in units of 1/256."""
    row = torch.tensor([[256, 22, 5, 2]], dtype=torch.float64) / 256
    assert 256**2 + 22**2 + 5**2 + 2**2 == 257**2
    assert norm_bf16(row).tolist() == [1.0]
    assert norm_bf16(torch.cat([row, torch.tensor([[2.0**-40]])], dim=1)).tolist() == [1.0078125]


def test_a_row_that_overflows_in_bf16_has_an_infinite_norm() -> None:
    assert norm_bf16(torch.tensor([[math.inf, 1.0], [3.0, 4.0]], dtype=torch.float64)).tolist() == [math.inf, 5.0]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_order_of_columns_and_the_number_of_threads_change_nothing(n_threads: int) -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(500, 1000, generator=generator).bfloat16().double()
    vector = torch.randn(1000, generator=generator).bfloat16().double()
    shuffled = torch.randperm(1000, generator=generator)
    torch.set_num_threads(n_threads)
    assert torch.equal(dot_bf16(rows, vector), dot_bf16(rows[:, shuffled], vector[shuffled]))
    assert torch.equal(norm_bf16(rows), norm_bf16(rows[:, shuffled]))
    exact = [nearest_by_search(exact_dot(row, vector.tolist())) for row in rows[:20].tolist()]
    assert dot_bf16(rows[:20], vector).tolist() == exact


@given(st.lists(BF16 | SMALL_BF16, min_size=1, max_size=6), BF16.filter(lambda value: value > 0))
def test_a_quotient_is_the_bf16_nearest_to_the_exact_one(row: list[float], divisor: float) -> None:
    got = quotient_bf16(torch.tensor([row]), torch.tensor([divisor]))[0].tolist()
    assert [value + 0.0 for value in got] == [nearest_by_search(Fraction(value) / Fraction(divisor)) for value in row]


def test_no_quotient_of_two_significands_is_rounded_twice() -> None:
    """Every pair of significands of 8 bits, in normal numbers, and where the quotient is under 2⁻¹²⁶."""
    numbers = torch.arange(128, 256, dtype=torch.float64)
    for exponent in (0, -126 - 7, -130 - 7, -134 - 7, -135 - 7):
        dividends = torch.ldexp(numbers, torch.tensor(exponent))
        kept = dividends == nearest_bf16(dividends).double()
        found = quotient_bf16(dividends[kept].expand(128, -1).float(), numbers.float())
        exact = dividends[kept] / numbers[:, None]
        # In fp64 a quotient keeps 45 bits more than bf16 has: none of these lies that near to a midpoint but on one.
        assert torch.equal(found.float() + 0.0, nearest_bf16(exact))


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5).filter(
        lambda values: any(values)
    )
)
def test_a_unit_vector_is_rounded_once_from_the_exact_one(values: list[float]) -> None:
    got = unit_bf16(torch.tensor(values, dtype=torch.float64)).tolist()
    square = exact_dot(values, values)
    expected = [math.copysign(nearest_root_by_search(Fraction(value) ** 2 / square), value) + 0.0 for value in values]
    assert got == expected


def test_a_unit_vectors_element_on_a_midpoint_goes_to_the_even_one() -> None:
    """257/512 is halfway between 128/256 and 129/256; so is the first element of (257, …)/512, of a norm of 512."""
    rest = 512**2 - 257**2
    squares = []
    while rest:
        root = min(math.isqrt(rest), 255)
        squares.append(float(root))
        rest -= root * root
    got = unit_bf16(torch.tensor([257.0, *squares], dtype=torch.float64))
    assert got[0] == 0.5
    assert unit_bf16(torch.tensor([257.0, *squares, 2.0**-60], dtype=torch.float64))[0] == 0.5
    more = unit_bf16(torch.tensor([math.nextafter(257.0, 300), *squares], dtype=torch.float64))
    assert more[0] == 0.50390625


@given(st.lists(st.lists(BF16 | SMALL_BF16, min_size=4, max_size=4), min_size=1, max_size=4))
def test_several_vectors_at_once_give_what_each_gives_alone(rows: list[list[float]]) -> None:
    values = torch.tensor(rows, dtype=torch.float64)
    sums, found = dots_bf16(values, values.T, torch.linalg.vector_norm(values, dim=1))
    assert found.tolist() == [[nearest_by_search(exact_dot(a, b)) for b in rows] for a in rows]
    assert torch.equal(sums, values @ values.T)


def test_only_what_no_bound_settles_goes_to_exact_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 2,000 random rows none; of rows whose terms cancel to 0, none either; a tie does."""
    exact: list[int] = []
    original = rounding._exact_sum
    monkeypatch.setattr(rounding, "_exact_sum", lambda terms: exact.append(len(terms)) or original(terms))
    generator = torch.Generator().manual_seed(7)
    rows = torch.randn(2000, 300, generator=generator).bfloat16().double()
    dot_bf16(rows, rows[5])
    apart = torch.eye(300, dtype=torch.float64)
    assert dot_bf16(apart, apart[3]).tolist() == apart[3].tolist()
    assert exact == []
    assert dot_bf16(torch.tensor([[1.0, 2**-8, 2**-80]], dtype=torch.float64), torch.ones(3).double()) == 1.0078125
    assert exact == [3]


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=8))
@example([1.0 + 2.0**-8 + 2.0**-52, -(2.0**-80)])  # the nearest fp64 is odd, the other beside it a midpoint
def test_rounded_to_odd_stands_on_the_exact_values_side_of_every_number_with_fewer_bits(terms: list[float]) -> None:
    nearest = math.fsum(terms)
    exact = sum(map(Fraction, terms), Fraction(0))
    odd = rounded_to_odd(nearest, float(exact - Fraction(nearest)))
    assert nearest_bf16(torch.tensor([odd], dtype=torch.float64)).tolist() == [nearest_by_search(exact)]
