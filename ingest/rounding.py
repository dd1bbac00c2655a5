"""Correctly rounded bf16: the bf16 nearest to an exact dot product or norm, ties to even, on every device.

A product of two bf16 is exact in fp64 (8 + 8 significant bits, exponents from -266 to 256). A sum of n such products,
added in any order with unit roundoff u = 2⁻⁵³, is off by at most γ·Σ|terms| with γ = (n-1)u / (1 - (n-1)u) (Higham,
*Accuracy and Stability of Numerical Algorithms*, 2nd ed., §4.2). So the exact value lies in [s - e, s + e]; rounding is
monotone; where both ends round to one bf16, that is the answer, certified. The few others are settled in exact integer
arithmetic. Values go from fp64 to bf16 in one step: by way of fp32 they would be rounded twice.

Every function here takes fp64 tensors on a device that has fp64 (so not MPS) and returns FLOAT (fp32) tensors there.
"""

import math
from fractions import Fraction

import torch
from torch import Tensor

UNIT_ROUNDOFF = 2.0**-53
# fp64 has 52 stored significand bits, bf16 7: rounding drops 45.
_DROPPED_BITS = 45
_SMALLEST_NORMAL = 2.0**-126
# Adding 1.5·2⁵²·g and taking it away rounds to a multiple of g, ties to even; bf16's subnormals are those of 2⁻¹³³.
_SUBNORMAL_ROUNDER = 1.5 * 2.0**52 * 2.0**-133
# Halfway between the largest bf16 and the 2¹²⁸ that would follow: from here on, infinity.
_OVERFLOW = (2.0 - 2.0**-8) * 2.0**127


def nearest_bf16(values: Tensor) -> Tensor:
    """Round fp64 values to the nearest bf16, ties to even, returned as fp32; -0.0 becomes 0.0.

    >>> nearest_bf16(torch.tensor([1.00390625, 1.01171875, 1.0039062500000002], dtype=torch.float64)).tolist()
    [1.0, 1.015625, 1.0078125]
    """
    bits = values.view(torch.int64)
    odd = (bits >> _DROPPED_BITS) & 1
    half_less_one = (1 << (_DROPPED_BITS - 1)) - 1
    rounded = (((bits + half_less_one + odd) >> _DROPPED_BITS) << _DROPPED_BITS).view(torch.float64)
    subnormal = (values + _SUBNORMAL_ROUNDER) - _SUBNORMAL_ROUNDER
    rounded = torch.where(values.abs() < _SMALLEST_NORMAL, subnormal, rounded)
    infinite = torch.copysign(torch.full_like(values, math.inf), values)
    rounded = torch.where(values.abs() >= _OVERFLOW, infinite, rounded)
    return torch.where(torch.isnan(values), values, rounded).to(torch.float32) + 0.0


def dot_bf16(rows: Tensor, vector: Tensor) -> Tensor:
    """Return the bf16 nearest to the exact dot product of each row with a vector.

    `rows` (n_rows, n_dims) and `vector` (n_dims,) hold finite bf16 values as fp64; returns (n_rows,) fp32.

    >>> rows = torch.tensor([[1.0, 0.00390625], [1.0, 0.003936767578125]]).double()
    >>> dot_bf16(nearest_bf16(rows).double(), torch.ones(2, dtype=torch.float64)).tolist()
    [1.0, 1.0078125]
    """
    sums = rows @ vector
    errors = gamma(len(vector)) * (rows.abs() @ vector.abs())
    low, high = nearest_bf16(sums - errors), nearest_bf16(sums + errors)
    for i in torch.nonzero(low != high).flatten().tolist():
        low[i] = _exact_bf16(_exact_dot(rows[i].tolist(), vector.tolist()))
    return low


def norm_bf16(rows: Tensor) -> Tensor:
    """Return the bf16 nearest to the exact L2 norm of each row.

    `rows` (n_rows, n_dims) holds finite bf16 values as fp64; returns (n_rows,) fp32.

    >>> norm_bf16(torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)).tolist()
    [5.0, 0.0, 1.4140625]
    """
    squares = (rows * rows).sum(dim=1)
    # The root halves a relative error and adds its own rounding; the sum has only terms >= 0, so γ is relative.
    norms = squares.sqrt()
    errors = norms * (gamma(rows.shape[1]) + 4 * UNIT_ROUNDOFF)
    # A finite fp32 row may hold values that are infinite in bf16; so is its norm, and exactly.
    errors = torch.where(torch.isinf(norms), 0.0, errors)
    low, high = nearest_bf16(norms - errors), nearest_bf16(norms + errors)
    for i in torch.nonzero(low != high).flatten().tolist():
        row = rows[i].tolist()
        low[i] = _exact_root_bf16(_exact_dot(row, row), float(low[i]), float(high[i]))
    return low


def gamma(n_terms: int) -> float:
    """Return γ, the relative error of an fp64 sum of products at most, in any order."""
    # One term more than the sum has covers the rounding of γ itself and of the products with it.
    return (n_terms + 8) * UNIT_ROUNDOFF / (1 - (n_terms + 8) * UNIT_ROUNDOFF)


def _exact_dot(a: list[float], b: list[float]) -> Fraction:
    """Return Σ a·b exactly. bf16 values are multiples of 2⁻¹³³, so integers do."""
    return Fraction(sum(int(x * 2.0**133) * int(y * 2.0**133) for x, y in zip(a, b, strict=True)), 1 << 266)


def _exact_bf16(value: Fraction) -> float:
    """Round an exact value to the nearest bf16, ties to even."""
    if value == 0:
        return 0.0
    magnitude = abs(value)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if Fraction(2) ** exponent > magnitude:
        exponent -= 1
    step = Fraction(2) ** (max(exponent, -126) - 7)
    rounded = round(magnitude / step) * step  # Fraction rounds half to even
    result = math.inf if rounded >= 2**128 else float(rounded)
    return math.copysign(result, value) + 0.0


def _exact_root_bf16(square: Fraction, low: float, high: float) -> float:
    """Return which of two neighbouring bf16 is nearest to √square."""
    if math.isinf(high):
        return low if square < Fraction(_OVERFLOW) ** 2 else high
    middle = (Fraction(low) + Fraction(high)) / 2
    if square != middle**2:
        return low if square < middle**2 else high
    return _exact_bf16(middle)
