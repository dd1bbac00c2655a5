"""The bf16 lattice in SQL, in the real shell and in Python, beside the values themselves in their order."""

import math
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.helpers import in_shell, ingest_bare, rows, shell_run

WIDTH = 128


def value(bits: int) -> float:
    """Return the bf16 of a bit pattern.

    >>> value(0x3F80), value(0x8001)
    (1.0, -9.183549615799121e-41)
    """
    (number,) = struct.unpack("<f", struct.pack("<I", bits << 16))
    return float(number)


VALUES = [value(bits) for bits in range(1 << 16)]
FINITE = sorted({number for number in VALUES if math.isfinite(number)})  # -0.0 is 0.0
ZERO = FINITE.index(0.0)
# A coordinate is a place in the order of all finite values, counted from zero.
COORDINATE = {number: place - ZERO for place, number in enumerate(FINITE)}


def exponent(number: float) -> int:
    """Return the exponent field of a finite bf16: of 1.0 it is 127, of 0 and subnormals 0."""
    return max(math.frexp(number)[1] + 126, 0) if number else 0


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog of a matrix with every bit pattern of bf16, by rows; two of them aren't finite."""
    catalog = tmp_path_factory.mktemp("every") / "c"
    patterns = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)
    ingest_bare(catalog, patterns.reshape(-1, WIDTH), "m")
    ingest_bare(catalog, torch.tensor([[0.1, 0.2, 0.0], [0.3, 1.0, 7.0], [0.5, 2.0, 3.0]]), "other")
    return catalog


def by_row(catalog: Path, expression: str, *, shell: bool) -> list[Any]:
    """Return what an expression gives for each row of the matrix."""
    query = f"select {expression} as given from vectors where model = 'm' order by token_id"
    if shell:
        return [row["given"] for row in in_shell(catalog, f"{query};")]
    return [given for (given,) in rows(catalog, query)]


@pytest.mark.parametrize("shell", [False, True], ids=["python", "shell"])
def test_every_bf16_is_at_its_place_among_all_and_rows_that_are_not_finite_nowhere(every: Path, *, shell: bool) -> None:
    found = by_row(every, "lattice_of(vector)", shell=shell)
    expected = [[COORDINATE.get(number) for number in VALUES[at : at + WIDTH]] for at in range(0, 1 << 16, WIDTH)]
    assert found == [None if None in row else row for row in expected]
    assert [row for row, places in enumerate(found) if places is None] == [255, 511]


def test_bits_are_those_of_the_file(every: Path) -> None:
    found = [bits for row in by_row(every, "bits_of(vector)", shell=False) for bits in row]
    assert [bits for bits, number in zip(found, VALUES, strict=True) if not math.isnan(number)] == [
        bits for bits, number in enumerate(VALUES) if not math.isnan(number)
    ]
    assert all(math.isnan(value(bits)) for bits, number in zip(found, VALUES, strict=True) if math.isnan(number))


def test_exponents_are_the_fields_of_the_values(every: Path) -> None:
    found = [field for row in by_row(every, "exponents_of(vector)", shell=False) for field in row]
    for field, number in zip(found, VALUES, strict=True):
        assert field == (exponent(number) if math.isfinite(number) else 255)


def test_own_ulps_are_quotients_by_the_value_s_own_last_bit(every: Path) -> None:
    found = by_row(every, "own_ulps_of(vector)", shell=False)
    assert (found.pop(511), found.pop(255)) == (None, None)
    finite = [number for number in VALUES if math.isfinite(number)]
    for ulps, number in zip((ulps for row in found for ulps in row), finite, strict=True):
        assert ulps == math.ldexp(number, 134 - max(exponent(number), 1))


@pytest.mark.parametrize("shell", [False, True], ids=["python", "shell"])
def test_an_ulp_is_what_the_last_bit_of_the_nearest_bf16_is_worth(every: Path, *, shell: bool) -> None:
    """255.9 is nearest to 256; 3.4e38 to infinity, which has none."""
    numbers = {
        "0": 2.0**-133, "'-0.0'::float": 2.0**-133, "1": 2.0**-7, "-1.99": 2.0**-7, "1.999": 2.0**-6, "255.9": 2.0,
        "1e-41": 2.0**-133, "1.2e-38": 2.0**-133, "3.38e38": 2.0**120,
        "3.4e38": None, "'nan'::float": None, "null": None,
    }  # fmt: skip
    query = f"select unnest([{', '.join(f'ulp_at({number})' for number in numbers)}]) as ulp"
    found = [row["ulp"] for row in in_shell(every, f"{query};")] if shell else [ulp for (ulp,) in rows(every, query)]
    assert found == list(numbers.values())


@pytest.mark.parametrize("shell", [False, True], ids=["python", "shell"])
def test_steps_between_rows_are_counted_over_signs_exponents_and_subnormals(every: Path, *, shell: bool) -> None:
    """By hand: across zero 2; into the next octave 1; from subnormal to normal 1; -0.0 to 0.0 none."""
    a = [value(0x0001), value(0x3F7F), value(0x007F), value(0x8000), 2.0, value(0x7F7F)]
    b = [value(0x8001), value(0x3F80), value(0x0080), value(0x0000), 1.0, value(0xFF7F)]
    apart = [2, 1, 1, 0, 128, 2 * 32639]
    assert [abs(COORDINATE[x] - COORDINATE[y]) for x, y in zip(a, b, strict=True)] == apart
    for n in range(1, len(a) + 1):
        query = f"select steps_between({a[:n]}, {b[:n]}) as steps, exponent_distance({a[:n]}, {b[:n]}) as apart"
        ((steps, exponents),) = (
            [tuple(row.values()) for row in in_shell(every, f"{query};")] if shell else rows(every, query)
        )
        assert steps == {"linf": max(apart[:n]), "l1": sum(apart[:n])}
        assert exponents == (1 if n > 1 else 0)


def test_steps_from_a_row_that_is_not_finite_are_not_known(every: Path) -> None:
    query = "select steps_between(['nan'::float, 1], [1, 1]), steps_between([1, 1], [1, '-inf'::float])"
    assert rows(every, query) == [(None, None)]


@pytest.mark.parametrize("number", ["0.1", "1e300", "16777217", "1e-42::double"])
def test_a_number_that_is_no_bf16_is_refused_and_rounding_named(every: Path, number: str) -> None:
    for macro in ("lattice_of", "bits_of", "exponents_of", "own_ulps_of"):
        done = shell_run(every, f"select {macro}([1, {number}]);")
        assert (
            "is no bfloat16 value, and so not on its lattice; bf16_list(…) rounds a list to ones first" in done.stderr
        )


def test_a_row_of_another_dtype_is_rounded_by_bf16_list_first(every: Path) -> None:
    of_other = "from vectors where model = 'other' and token_id = 0"
    assert "no bfloat16 value" in shell_run(every, f"select lattice_of(vector) {of_other};").stderr
    assert rows(every, f"select lattice_of(bf16_list(vector)) {of_other}") == [([0x3DCD, 0x3E4D, 0],)]


def test_rows_of_different_lengths_are_not_compared(every: Path) -> None:
    done = shell_run(every, "select steps_between([1, 2], [1]);")
    assert "rows of 2 and 1 values can't be compared value by value" in done.stderr
