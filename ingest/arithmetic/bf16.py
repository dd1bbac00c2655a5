"""Correctly rounded bf16: the bf16 nearest to an exact dot product, norm or quotient, ties to even, on every device.

**Dot products.** A product of two bf16 is exact in fp64 (8 + 8 significant bits, exponents from -266 to 256). A sum of
n such products, added in any order with unit roundoff u = 2⁻⁵³, is off by at most γ·Σ|terms| with
γ = (n-1)u / (1 - (n-1)u) (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., §4.2), and so by at most
γ·‖a‖·‖b‖ (Cauchy and Schwarz), which costs nothing where norms are known. So the exact value lies in [s - e, s + e];
rounding is monotone; where both ends round to one bf16, that is the answer, certified. What neither bound settles goes
to exact arithmetic: Shewchuk's sums (*Discrete & Computational Geometry* 18, 1997; Python's `math.fsum`) give the
nearest fp64, and the sign of what is left; rounded to odd with that sign (Boldo and Melquiond, *IEEE Transactions on
Computers* 57, 2008) it is on the exact value's side of every bf16 and of every midpoint between two: those have even
significands in fp64.

**Norms.** The same, by one bound on the root of the sum of squares; what that doesn't settle is decided by comparing
the exact sum with the square of the midpoint.

**Quotients** go through fp32: rounding a quotient of two p-bit numbers to q bits first is innocuous where q >= 2p + 2
(Figueroa, *SIGNUM Newsletter* 30, 1995), and 24 >= 2·8 + 2. Under 2⁻¹²⁶, fp32's step is 2⁻¹⁴⁹ and bf16's 2⁻¹³³: a
quotient a·2ⁱ / (b·2ʲ), a, b < 2⁸, that isn't a midpoint m·2⁻¹³⁴ is at least 2⁻¹⁴² / b > 2⁻¹⁵⁰ away from it, more than
half of fp32's step, and so never becomes one. (That is where i - j >= -142; else it is under 2⁻¹³⁵, and 0 in bf16.)

Other values go from fp64 to bf16 in one step: by way of fp32 they would be rounded twice. But for `quotient_bf16`,
functions here take fp64 tensors on a device that has fp64 (so not MPS), and return FLOAT (fp32) tensors there.
"""

import math
import struct
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
    return dots_bf16(rows, vector[:, None], torch.linalg.vector_norm(rows, dim=1))[1][:, 0]


def dots_bf16(rows: Tensor, vectors: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return the dot products of rows with vectors in fp64, and the bf16 nearest to the exact ones; `(n_rows, n)` each.

    `rows` (n_rows, n_dims) and `vectors` (n_dims, n) hold finite bf16 values as fp64; `lengths` (n_rows,) are the rows'
    norms in fp64, or more.
    """
    sums = rows @ vectors
    errors = gamma(len(vectors)) * lengths[:, None] * torch.linalg.vector_norm(vectors, dim=0)
    low, high = nearest_bf16(sums - errors), nearest_bf16(sums + errors)
    i, j = torch.nonzero(low != high, as_tuple=True)
    if len(i):
        low[i, j] = _sums_bf16(rows[i] * vectors.T[j])
    return sums, low


def quotient_bf16(rows: Tensor, divisors: Tensor) -> Tensor:
    """Return the bf16 nearest to the exact quotient of each row's elements by its divisor, as bf16.

    `rows` (n_rows, n_dims) holds finite bf16 values in any type, `divisors` (n_rows,) bf16 values above 0.

    >>> quotient_bf16(torch.tensor([[1.0, 2.0]]), torch.tensor([3.0])).tolist()
    [[0.333984375, 0.66796875]]
    """
    return (rows.float() / divisors.float()[:, None]).to(torch.bfloat16)


def unit_bf16(vector: Tensor) -> Tensor:
    """Return the bf16 nearest to each element of a vector divided by its exact L2 norm.

    `vector` (n_dims,) holds finite fp32 values as fp64, not all 0; returns (n_dims,) fp32.

    >>> unit_bf16(torch.tensor([3.0, 4.0, 0.0], dtype=torch.float64)).tolist()
    [0.6015625, 0.80078125, 0.0]
    """
    square = _exact_dot(vector.tolist(), vector.tolist())
    # A root, a quotient and the square's own rounding; the bound is for twice as many.
    quotients = vector / math.sqrt(square)
    errors = quotients.abs() * (8 * UNIT_ROUNDOFF)
    low, high = nearest_bf16(quotients - errors), nearest_bf16(quotients + errors)
    for i in torch.nonzero(low != high).flatten().tolist():
        value, ends = float(vector[i]), sorted((abs(float(low[i])), abs(float(high[i]))))
        low[i] = math.copysign(_exact_root_bf16(Fraction(value) ** 2 / square, *ends), value)
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


def rounded_to_odd(nearest: float, rest: float) -> float:
    """Return the fp64 beside an exact value whose last bit is 1, given the nearest fp64 and the sign of what is left.

    An exact value is itself. Rounding the result to fewer bits gives what rounding the exact value to them gives.

    >>> rounded_to_odd(1.0, 0.0), rounded_to_odd(1.0, 1e-30).hex(), rounded_to_odd(1.0, -1e-30).hex()
    (1.0, '0x1.0000000000001p+0', '0x1.fffffffffffffp-1')
    """
    odd = struct.unpack("<q", struct.pack("<d", nearest))[0] & 1
    return nearest if rest == 0 or odd else math.nextafter(nearest, math.copysign(math.inf, rest))


def _sums_bf16(terms: Tensor) -> Tensor:
    """Return the bf16 nearest to the exact sum of each row of `terms` (n_rows, n_terms), fp64."""
    sums, errors = terms.sum(dim=1), gamma(terms.shape[1]) * terms.abs().sum(dim=1)
    low, high = nearest_bf16(sums - errors), nearest_bf16(sums + errors)
    unsettled = torch.nonzero(low != high).flatten()
    if len(unsettled):
        exact = [_exact_sum(row) for row in terms[unsettled].tolist()]
        low[unsettled] = nearest_bf16(torch.tensor(exact, dtype=torch.float64, device=terms.device))
    return low


def _exact_sum(terms: list[float]) -> float:
    """Return Σ terms rounded to odd."""
    nearest = math.fsum(terms)
    return rounded_to_odd(nearest, math.fsum([*terms, -nearest]))


def _exact_dot(a: list[float], b: list[float]) -> Fraction:
    """Return Σ a·b exactly. fp32 values, and so bf16's, are multiples of 2⁻¹⁴⁹, so integers do."""
    return Fraction(sum(int(x * 2.0**149) * int(y * 2.0**149) for x, y in zip(a, b, strict=True)), 1 << 298)


def _exact_root_bf16(square: Fraction, low: float, high: float) -> float:
    """Return which of two neighbouring bf16 >= 0 is nearest to √square."""
    if math.isinf(high):
        return low if square < Fraction(_OVERFLOW) ** 2 else high
    middle = (Fraction(low) + Fraction(high)) / 2
    if square != middle**2:
        return low if square < middle**2 else high
    return float(nearest_bf16(torch.tensor(float(middle), dtype=torch.float64)))
