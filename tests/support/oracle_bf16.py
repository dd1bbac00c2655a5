"""What bf16 arithmetic must give, by the contract alone: exact fractions, rounded once by looking for the nearest.

Slow and plain: every bf16 is looked at, and nothing here is taken from the product.
"""

import math
import struct
from fractions import Fraction

import numpy as np
import torch
from hypothesis import strategies as st


def bf16_value(bits: int) -> float:
    """Return the bf16 of these 16 bits."""
    return float(struct.unpack("<f", struct.pack("<I", bits << 16))[0])


FINITE_BITS = st.integers(0, 0xFFFF).filter(lambda bits: bits & 0x7F80 != 0x7F80)
BF16 = FINITE_BITS.map(bf16_value)
# Near 1, so that sums cancel and tie often.
SMALL_BF16 = st.integers(-255, 255).map(lambda n: n / 128)
FP32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def nearest_by_search(exact: Fraction) -> float:
    """Return the bf16 nearest to an exact value by looking at all of them: neighbours by bisection, ties to even."""
    magnitude = abs(exact)
    low, high = 0, 0x7F80  # the bits of a non-negative bf16 are in its order; 0x7F80 stands for 2**128 here
    value = lambda bits: Fraction(2) ** 128 if bits == 0x7F80 else Fraction(bf16_value(bits))  # noqa: E731
    if magnitude >= value(high):
        return math.copysign(math.inf, exact)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if value(middle) <= magnitude else (low, middle)
    below, above = magnitude - value(low), value(high) - magnitude
    bits = low if below < above or (below == above and low % 2 == 0) else high
    result = math.inf if bits == 0x7F80 else bf16_value(bits)
    return math.copysign(result, exact) + 0.0


def nearest_root_by_search(square: Fraction) -> float:
    """Return the bf16 nearest to √square, comparing squares."""
    low, high = 0, 0x7F80
    value = lambda bits: Fraction(2) ** 128 if bits == 0x7F80 else Fraction(bf16_value(bits))  # noqa: E731
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if value(middle) ** 2 <= square else (low, middle)
    between = ((value(low) + value(high)) / 2) ** 2
    bits = low if square < between or (square == between and low % 2 == 0) else high
    return math.inf if bits == 0x7F80 else bf16_value(bits)


def exact_dot(a: list[float], b: list[float]) -> Fraction:
    """Return Σ a·b exactly."""
    return sum((Fraction(x) * Fraction(y) for x, y in zip(a, b, strict=True)), Fraction(0))


def rounded(values: list[float]) -> list[float]:
    """Return each value as the nearest bf16."""
    return [nearest_by_search(Fraction(value)) for value in values]


def exact_scores(row: list[float], h: list[float]) -> tuple[float, float | None]:
    """Return dot_bf16 and cosine_bf16 of a row against h by the contract's definitions, in exact fractions."""
    row16, h16 = rounded(row), rounded(h)
    dot = nearest_by_search(exact_dot(row16, h16))
    norm16 = nearest_root_by_search(exact_dot(row16, row16))
    # h/‖h‖ to 60 digits, then one rounding.
    square = sum((Fraction(value) ** 2 for value in h), Fraction(0))
    if norm16 == 0 or square == 0:
        return dot, None
    length = Fraction(math.isqrt(int(square * 10**120)), 10**60)
    r16 = [nearest_by_search(Fraction(value) / length) for value in h]
    unit = [nearest_by_search(Fraction(value) / Fraction(norm16)) for value in row16]
    return dot, nearest_by_search(exact_dot(unit, r16))


def nearest_fp32(exact: Fraction) -> float:
    """Return the fp32 nearest to an exact value, ties to even, by looking at its neighbours."""
    with np.errstate(over="ignore"):
        guess = np.float32(float(exact))
        around = [guess, np.nextafter(guess, np.float32(-np.inf)), np.nextafter(guess, np.float32(np.inf))]
    finite = [value for value in around if np.isfinite(value)]
    even = lambda value: int(value.view(np.uint32)) & 1  # noqa: E731
    return float(min(finite, key=lambda value: (abs(Fraction(float(value)) - exact), even(value)))) + 0.0


def exact_mean(rows: list[list[float]]) -> list[float]:
    """Return the nearest fp32 of each column's exact mean."""
    return [nearest_fp32(sum(map(Fraction, column), Fraction(0)) / len(column)) for column in zip(*rows, strict=True)]


def steps_from(value: torch.Tensor, n: int) -> float:
    """Return the bf16 so many steps up, or down, as torch has them."""
    for _ in range(abs(n)):
        value = torch.nextafter(value, torch.tensor(math.copysign(math.inf, n), dtype=torch.bfloat16))
    return value.item()
