"""What bf16 arithmetic must give, by the contract alone: exact fractions, rounded once by looking for the nearest.

Slow and plain: every bf16 is looked at, and nothing here is taken from the product.
"""

import math
import struct
from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

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
# The bf16 from 0 on, in the order of their bits; 2**128 stands for infinity, to which what is halfway there is rounded.
VALUES = [*map(bf16_value, range(0x7F80)), 2.0**128]
SQUARES = [Fraction(value) ** 2 for value in VALUES]


def nearest_by_search(exact: Fraction) -> float:
    """Return the bf16 nearest to an exact value by looking for its neighbours among all of them, ties to even."""
    magnitude = abs(exact)
    if magnitude >= VALUES[-1]:
        return math.copysign(math.inf, exact)
    # What fp64 rounds up to a bf16 counts as that one, which is the nearest to it.
    low = bisect_right(VALUES, float(magnitude), hi=len(VALUES) - 1) - 1
    middle = (Fraction(VALUES[low]) + Fraction(VALUES[low + 1])) / 2
    return math.copysign(_either(low, magnitude, middle), exact) + 0.0


def nearest_root_by_search(square: Fraction) -> float:
    """Return the bf16 nearest to √square, comparing squares."""
    low = bisect_right(SQUARES, square, hi=len(SQUARES) - 1) - 1
    middle = (Fraction(VALUES[low]) + Fraction(VALUES[low + 1])) / 2
    return _either(low, square, middle**2)


def _either(low: int, exact: Fraction, middle: Fraction) -> float:
    """Return the bf16 of these bits, or the next from the middle on; the even one at the middle itself."""
    bits = low if exact < middle or (exact == middle and low % 2 == 0) else low + 1
    return math.inf if bits == 0x7F80 else VALUES[bits]


def exact_dot(a: Sequence[float], b: Sequence[float]) -> Fraction:
    """Return Σ a·b exactly: every term is a whole number over a power of two.

    >>> exact_dot([0.5, 3.0], [0.25, 2.0])
    Fraction(49, 8)
    """
    ratios = [(x.as_integer_ratio(), y.as_integer_ratio()) for x, y in zip(a, b, strict=True)]
    terms = [(m * n, p * q) for (m, p), (n, q) in ratios]
    denominator = max((q for _, q in terms), default=1)
    return Fraction(sum(n * (denominator // q) for n, q in terms), denominator)


def rounded(values: Sequence[float]) -> list[float]:
    """Return each value as the nearest bf16."""
    return [nearest_by_search(Fraction(value)) for value in values]


def exact_scores(row: list[float], h: list[float]) -> tuple[float, float | None]:
    """Return dot_bf16 and cosine_bf16 of a row against h by the contract's definitions, in exact fractions."""
    row16, (h16, r16) = rounded(row), _pointing(tuple(h))
    dot = nearest_by_search(exact_dot(row16, h16))
    norm16 = nearest_root_by_search(exact_dot(row16, row16))
    if norm16 == 0 or r16 is None:
        return dot, None
    unit = [nearest_by_search(Fraction(value) / Fraction(norm16)) for value in row16]
    return dot, nearest_by_search(exact_dot(unit, r16))


@lru_cache(maxsize=8)
def _pointing(h: tuple[float, ...]) -> tuple[list[float], list[float] | None]:
    """Return bf16(h), and bf16(h/‖h‖) with ‖h‖ to 60 digits; None where that is 0."""
    square = exact_dot(h, h)
    length = Fraction(math.isqrt(int(square * 10**120)), 10**60)
    return rounded(h), [nearest_by_search(Fraction(value) / length) for value in h] if square else None


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
