"""Rounding and means without error: fp64 where its error bound decides, exact fractions where it doesn't."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

BF16, FP32 = 8, 24  # binary digits of a significand


def rounded(exact: Fraction, n_digits: int) -> float:
    """Return the number with so many binary digits nearest to an exact one, ties to even (no subnormals).

    >>> rounded(Fraction(1, 3), BF16), rounded(Fraction(257), BF16), rounded(Fraction(259), BF16)
    (0.333984375, 256.0, 260.0)
    """
    _, exponent = math.frexp(float(exact))
    return math.ldexp(float(round(exact / Fraction(2) ** (exponent - n_digits))), exponent - n_digits)


def to_bf16(values: Floats) -> Floats:
    """Return the bf16 nearest to each fp64 value, ties to even (no subnormals).

    >>> to_bf16(np.array([1 / 3, 257.0, -259.0, 0.0])).tolist()
    [0.333984375, 256.0, -260.0, 0.0]
    """
    significands, exponents = np.frexp(values)
    significands *= 2.0**BF16
    return np.ldexp(np.rint(significands, out=significands), exponents - BF16)


def exact_sum(values: Sequence[float]) -> Fraction:
    """Return a sum exactly: fsum's, and what that leaves, till nothing is left.

    >>> exact_sum([1e30, 0.1, -1e30]) == Fraction(0.1)
    True
    """
    parts: list[float] = []
    while rest := math.fsum([*values, *(-part for part in parts)]):
        parts.append(rest)
    return sum(map(Fraction, parts), Fraction(0))


def gamma(n_terms: int) -> float:
    """Return the relative error of an fp64 sum of so many products, in any order (Higham's bound)."""
    return n_terms * 2.0**-53 / (1 - n_terms * 2.0**-53)


def bf16_products(rows: Floats, vector: Floats) -> Floats:
    """Return the bf16 nearest to the exact product of each row (n, n_dims) with a vector; all of bf16 values."""
    products = rows @ vector
    errors = 2 * gamma(len(vector)) * (np.abs(rows) @ np.abs(vector))  # twice: the bound is computed in fp64 too
    low, high = to_bf16(products - errors), to_bf16(products + errors)
    for i in np.flatnonzero(low != high):
        low[i] = rounded(exact_sum((rows[i] * vector).tolist()), BF16)  # a product of two bf16 is exact in fp64
    return low + 0.0


def bf16_norms(rows: Floats) -> Floats:
    """Return the bf16 nearest to the exact norm of each row (n, n_dims) of bf16 values."""
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    errors = 2 * gamma(rows.shape[1]) * norms
    low, high = to_bf16(norms - errors), to_bf16(norms + errors)
    for i in np.flatnonzero(low != high):
        middle = Fraction(low[i] + high[i]) / 2
        square = exact_sum((rows[i] ** 2).tolist())
        # A norm at the middle itself goes to the even one, as to_bf16 has it.
        low[i] = to_bf16(np.array([float(middle)]))[0] if square == middle**2 else (low, high)[square > middle**2][i]
    return low


def nearest_mean(W: Tensor, ids: Ids) -> Floats:
    """Return the fp32 nearest to the exact mean of rows `ids` of W, (n_dims,)."""
    columns = W[torch.from_numpy(ids)].double().T.tolist()
    return np.array([rounded(exact_sum(column) / len(ids), FP32) for column in columns])


def bf16_quotient(x: float, square: Fraction) -> float:
    """Return the bf16 nearest to x / √square."""
    quotient = x / math.sqrt(square)
    low, high = (rounded(Fraction(quotient) * (1 + sign * Fraction(2) ** -50), BF16) for sign in (-1, 1))
    if low == high:
        return low
    middle = (Fraction(low) + Fraction(high)) / 2  # a tie would need √square rational; it is then not settled here
    if Fraction(x) ** 2 == middle**2 * square:
        raise NotImplementedError(f"{x} / √{square} is halfway between two bf16")
    return max(low, high, key=abs) if Fraction(x) ** 2 > middle**2 * square else min(low, high, key=abs)
