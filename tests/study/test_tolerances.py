"""Whether a figure agrees with a published one: the table of `queries.verdicts`, cell by cell at its edges."""

import math
from decimal import Decimal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.oracle_bf16 import steps_from
from token_catalog.queries.tolerances import format_value, judge

# Class, published, type, what passes, what doesn't.
CELLS = [
    ("exact", "2251", "BIGINT", [2251], [2250, 2252, -2251]),
    ("exact", "-7", "INTEGER", [-7], [7, -6, -8]),
    ("exact", "0", "INTEGER", [0], [1, -1]),
    ("exact", str(2**100), "HUGEINT", [2**100], [2**100 + 1]),
    ("robust", "2233", "BIGINT", [2231, 2233, 2235], [2230, 2236]),
    ("robust", "0", "BIGINT", [-2, 2], [-3, 3]),
    ("robust", "-1", "BIGINT", [-3, 1], [-4, 2]),
    # 2 % of 2251 is 45.02; of 2250, 45 to the token.
    ("fragile", "2251", "BIGINT", [2206, 2251, 2296], [2205, 2297]),
    ("fragile", "2250", "BIGINT", [2205, 2295], [2204, 2296]),
    ("fragile", "-2251", "BIGINT", [-2206, -2296], [-2205, -2297, 2251]),
    ("fragile", "100", "BIGINT", [98, 102], [97, 103]),
    ("fragile", "99", "BIGINT", [98, 100], [97, 101]),
    ("fragile", "25", "BIGINT", [24, 26], [23, 27]),
    ("fragile", "0", "BIGINT", [-1, 0, 1], [-2, 2]),
    # bf16 values: printed whole, rounded as torch prints them, and with fewer digits.
    ("exact", "0.84375", "FLOAT", [0.84375], [0.83984375, 0.84765625, -0.84375]),
    ("exact", "0.232421875", "FLOAT", [0.232421875], [0.2314453125, 0.2333984375]),
    ("exact", "0.23242188", "FLOAT", [0.232421875], [0.2314453125, 0.2333984375]),
    ("exact", "0.2324", "FLOAT", [0.232421875], [0.2314453125, 0.2333984375]),
    ("exact", "2.3242188e-1", "FLOAT", [0.232421875], [0.2314453125]),
    ("exact", "-0.25390625", "FLOAT", [-0.25390625], [0.25390625, -0.251953125, -0.255859375]),
    ("exact", "0", "FLOAT", [0.0, -0.0], [2.0**-133, -(2.0**-133)]),
    ("exact", "-0.0", "FLOAT", [0.0, -0.0], [2.0**-133]),
    ("fragile", "0.23242188", "FLOAT", [0.2314453125, 0.232421875, 0.2333984375], [0.23046875, 0.234375]),
    ("fragile", "-0.68359375", "FLOAT", [-0.6796875, -0.6875], [-0.67578125, -0.69140625, 0.68359375]),
    # Below 0.25 the steps are half as long as above.
    ("fragile", "0.25", "FLOAT", [0.2490234375, 0.251953125], [0.248046875, 0.25390625]),
    ("fragile", "0", "FLOAT", [-(2.0**-133), 0.0, 2.0**-133], [-(2.0**-132), 2.0**-132]),
    # A FLOAT that is no bf16, and a DOUBLE, count as the nearest; halfway, as the even one: 256, 260.
    ("exact", "256", "FLOAT", [257.0, 255.5, 255.75], [255.0, 258.0, 257.25]),
    ("exact", "260", "FLOAT", [259.0, 261.0], [258.0, 262.0]),
    ("fragile", "256", "DOUBLE", [255.0, 258.0, 258.75], [254.0, 259.0, 260.0]),
    ("fragile", "0.371094", "DOUBLE", [0.3701, 0.3730], [0.3681, 0.3741]),
    ("robust", "0.371094", "FLOAT", [0.37109375], [0.373046875, 0.369140625]),
    ("robust", "0.371095", "FLOAT", [0.37109375], []),
    ("robust", "0.371096", "FLOAT", [], [0.37109375]),
    # Printed digits: within half a digit, but where it is whole; one more where it is robust.
    ("exact", "1.087283", "DOUBLE", [1.087283, 1.0872834, 1.0872826], [1.0872836, 1.0872824, -1.087283]),
    ("exact", "-1.087283", "DOUBLE", [-1.0872834, -1.0872826], [-1.0872836, -1.0872824]),
    ("exact", "0.00", "DOUBLE", [0.0, -0.0, 0.0049, -0.0049], [0.0051, -0.0051]),
    ("exact", "0.01", "DOUBLE", [0.0106, 0.0051], [0.0151]),
    ("exact", "0.010", "DOUBLE", [0.0104], [0.0106, 0.0094]),
    ("exact", "0.000009613870", "DOUBLE", [9.6138704e-6], [9.6138706e-6]),
    ("exact", "9.613870e-6", "DOUBLE", [9.6138704e-6], [9.6138706e-6]),
    ("exact", "2E+3", "DOUBLE", [2000.0], [1999.0, 2000.5]),
    ("exact", "12", "DOUBLE", [12.0], [11.9, 12.1]),
    ("robust", "12", "DOUBLE", [12.0, 11.6, 13.4], [10.4, 13.6]),
    ("exact", "1.10", "DECIMAL(5,2)", [Decimal("1.10")], [Decimal("1.11")]),
    ("robust", "1.087283", "DOUBLE", [1.0872844, 1.0872816], [1.0872846, 1.0872814, -1.087283]),
    ("robust", "-16.01", "DOUBLE", [-16.0249, -15.9951], [-16.0251, -15.9949, 16.01]),
    ("robust", "0.00", "DOUBLE", [0.0149, -0.0149], [0.0151, -0.0151]),
    ("robust", "9.613870E-6", "DOUBLE", [9.6138714e-6], [9.6138716e-6]),
    # Exponents: the digits are counted as they are printed.
    ("exact", "7.45e-09", "DOUBLE", [2.0**-27], [7.46e-09, 2.0**-28, 2.0**-26]),
    ("exact", "4.88e-04", "DOUBLE", [2.0**-11, 4.8849e-4], [4.8851e-4, 2.0**-12]),
    ("exact", "6.103516e-05", "DOUBLE", [2.0**-14], [6.103539e-05]),
    ("robust", "5.474510e-08", "DOUBLE", [5.4745114e-08, 5.4745086e-08], [5.4745116e-08, 5.4745084e-08]),
    # Of a robust one, seven digits at most; of an exact one, all.
    ("robust", "1.571872115135", "DOUBLE", [1.5718736, 1.5718707], [1.5718737, 1.5718705, -1.5718721]),
    ("robust", "8.052777051926e-01", "DOUBLE", [0.80527785, 0.80527756], [0.80527787, 0.80527754]),
    ("robust", "0.000072617571", "DOUBLE", [7.2617584e-5], [7.2617586e-5]),
    ("robust", "12345678", "DOUBLE", [12345690.0], [12345694.0]),
    ("robust", "0.0000000000", "DOUBLE", [1.4e-10], [1.6e-10]),
    ("exact", "1.571872115135", "DOUBLE", [1.571872115135], [1.571872115136]),
    # Lists of fractions: as many, and each as it would be alone, by its own digits.
    ("robust", "0.370915 0.000024", "DOUBLE[]", [[0.3709164, 0.0000254]], [[0.3709166, 0.000024], [0.370915, 2.6e-5]]),
    ("robust", "1.5 20", "DOUBLE[]", [[1.6, 21.4]], [[1.66, 20.0], [1.5, 21.6], [1.5], [1.5, 20.0, 0.0], [20.0, 1.5]]),
    ("exact", "1.5 20", "DOUBLE[]", [[1.54, 20.0]], [[1.56, 20.0], [1.5, 20.1]]),
    ("exact", "6.10e-05 7.45e-09", "DOUBLE[]", [[2.0**-14, 2.0**-27]], [[2.0**-14, 2.0**-28], [2.0**-27, 2.0**-14]]),
    ("exact", "0.23242188 1", "FLOAT[]", [[0.232421875, 1.0]], [[0.2314453125, 1.0]]),
    ("fragile", "94217.0859 95.3442", "DOUBLE[]", [[94600.0, 95.0]], [[95000.0, 95.3], [94217.0, 96.3]]),
    ("robust", "1.10 2", "DECIMAL(5,2)[]", [[Decimal("1.11"), Decimal("2.00")]], [[Decimal("1.12"), Decimal("2.00")]]),
    # Lists of integers: in order; or but for 2 % of them (one of less than 100) missing, and as many others.
    ("exact", "124 125 177", "INTEGER[]", [[124, 125, 177]], [[124, 125], [125, 124, 177], [124, 125, 178], []]),
    ("exact", "-3", "INTEGER[]", [[-3]], [[3], [-3, -3]]),
    ("robust", "124 125 177", "INTEGER[]", [[124, 125, 177]], [[124, 125, 177, 178], [124, 125, 178]]),
    ("fragile", "1 2 3", "INTEGER[]", [[1, 2, 3], [3, 9, 1], [1, 2], [1, 2, 3, 4]], [[1, 9, 8], [1], [1, 2, 3, 4, 5]]),
    ("fragile", "1 1 1", "INTEGER[]", [[1, 1, 1], [1, 1]], [[1], []]),
    (
        "fragile",
        " ".join(map(str, range(100))),
        "INTEGER[]",
        [list(range(100)), list(range(2, 102)), list(range(98))],
        [list(range(3, 103)), list(range(97)), list(range(103))],
    ),
    ("exact", "bfloat16", "VARCHAR", ["bfloat16"], ["bfloat", "BFLOAT16", ""]),
    ("robust", "bfloat16", "VARCHAR", ["bfloat16"], ["float16"]),
    ("fragile", "1", "VARCHAR", ["1"], ["2", "1.0"]),
]


@pytest.mark.parametrize(("class_", "published", "type_", "passing", "failing"), CELLS)
def test_a_figure_passes_up_to_its_classs_tolerance_and_no_further(
    class_: str, published: str, type_: str, passing: list[object], failing: list[object]
) -> None:
    assert [found for found in passing if not judge(class_, published, found, type_).passes] == []
    assert [found for found in failing if judge(class_, published, found, type_).passes] == []


@pytest.mark.parametrize("class_", ["exact", "robust", "fragile"])
def test_nothing_and_what_is_no_number_never_pass(class_: str) -> None:
    for type_ in ("FLOAT", "DOUBLE"):
        for found in (math.nan, math.inf, -math.inf):
            assert not judge(class_, str(found), found, type_).passes
            assert judge(class_, "0.5", found, type_) == (False, "isn't finite")
    for type_ in ("INTEGER", "FLOAT", "INTEGER[]", "VARCHAR"):
        assert judge(class_, "0", None, type_) == (False, "nothing found")
    assert not judge(class_, "0.5", 1e39, "DOUBLE").passes


@pytest.mark.parametrize("class_", ["exact", "robust", "fragile"])
@pytest.mark.parametrize(
    ("published", "found", "type_", "quoted"),
    [
        ("about 3", 3, "BIGINT", "about 3"),
        ("3.0", 3, "BIGINT", "3.0"),
        ("3e0", 3, "BIGINT", "3e0"),
        ("2.58%", 2.58, "DOUBLE", "2.58%"),
        ("0x1p-1", 0.5, "FLOAT", "0x1p-1"),
        ("nan", 0.5, "FLOAT", "nan"),
        ("inf", 3.4e38, "FLOAT", "inf"),
        ("1 2 x", [1, 2], "INTEGER[]", "x"),
        ("1, 2", [1, 2], "INTEGER[]", "1,"),
    ],
)
def test_published_text_that_is_no_such_number_fails_and_is_quoted(
    class_: str, published: str, found: object, type_: str, quoted: str
) -> None:
    passes, remark = judge(class_, published, found, type_)
    assert not passes
    assert remark.startswith(f"published '{quoted}' is no ")


@pytest.mark.parametrize(
    ("class_", "published", "found", "type_"),
    [
        ("exact", "1 2", [[1], [2]], "INTEGER[][]"),
        ("fragile", "1 2", [[1], [2]], "INTEGER[][]"),
        ("fragile", "1 2", ["1", "3"], "VARCHAR[]"),
        ("fragile", "1 2", {"a": 1}, "STRUCT(a INTEGER)"),
        ("robust", "12", b"12", "BLOB"),
        ("exact", "true", False, "BOOLEAN"),
        ("fragile", "1e-9999999999", 0.5, "DOUBLE"),
        ("robust", "1e-9999999999", 0.5, "DOUBLE"),
        ("robust", "1e9999999999", 0.5, "DOUBLE"),
        ("robust", "9" * 5000, 1, "BIGINT"),
    ],
)
def test_values_of_odd_types_and_sizes_fail_and_raise_nothing(
    class_: str, published: str, found: object, type_: str
) -> None:
    assert not judge(class_, published, found, type_).passes


@given(st.integers(0x0001, 0x7F00), st.sampled_from([1, -1]), st.integers(-3, 3), st.sampled_from([None, 8, 4]))
def test_steps_between_bf16_values_are_torchs(bits: int, sign: int, n: int, digits: int | None) -> None:
    """Four digits tell every bf16 from its neighbours."""
    value = sign * torch.tensor([bits], dtype=torch.int16).view(torch.bfloat16)[0]
    found = steps_from(value, n)
    published = repr(value.item()) if digits is None else f"{value.item():.{digits}g}"
    assert judge("exact", published, found, "FLOAT").passes == (n == 0)
    for type_ in ("FLOAT", "DOUBLE"):
        assert judge("fragile", published, found, type_).passes == (abs(n) <= 1)


@given(st.floats(-(2.0**126), 2.0**126, width=32))
def test_what_is_no_bf16_is_judged_as_the_one_that_torch_rounds_it_to(found: float) -> None:
    nearest = torch.tensor(found, dtype=torch.float32).bfloat16()
    assert judge("exact", repr(nearest.item()), found, "FLOAT").passes
    assert not judge("exact", repr(steps_from(nearest, 1)), found, "FLOAT").passes
    assert not judge("fragile", repr(steps_from(nearest, -2)), found, "DOUBLE").passes


@given(st.integers(1 - 10**7, 10**7 - 1), st.integers(0, 12), st.integers(-30, 30))
def test_digits_are_counted_where_they_were_printed(number: int, places: int, tenths: int) -> None:
    """What is found is off by tenths of the last digit that was printed."""
    published = str(Decimal(number).scaleb(-places))
    found = Decimal(10 * number + tenths).scaleb(-places - 1)
    for class_, allowed in (("exact", 5), ("robust", 15)):
        if abs(tenths) != allowed:  # at the edge itself a double is to one side or the other
            near = abs(tenths) < allowed if places or class_ == "robust" else not tenths
            assert judge(class_, published, float(found), "DOUBLE").passes == near


def test_a_verdict_says_by_how_much() -> None:
    assert judge("exact", "13", 12, "BIGINT").remark == "-1"
    assert judge("robust", "13", 16, "BIGINT").remark == "+3, of 2 allowed"
    assert judge("fragile", "2251", 2297, "BIGINT").remark == "+46: 2.04 %, of 45 allowed"
    assert judge("fragile", "0.84765625", 0.84375, "FLOAT") == (True, "-1 bf16 steps, of 1 allowed")
    assert judge("robust", "1.36", 1.37, "DOUBLE") == (True, "one in the last digit")
    assert judge("exact", "1.36", 1.37, "DOUBLE").remark == "differs by 0.01"
    assert judge("exact", "1 2 3", [1, 3, 3], "INTEGER[]").remark == "number 2 is 3, not 2"
    assert judge("exact", "1 2 3", [1, 2], "INTEGER[]").remark == "2, not 3"
    assert judge("exact", "1.5 2.5", [1.5], "DOUBLE[]").remark == "1, not 2"
    assert judge("robust", "1.5 2.5 3.5", [1.5, 2.6, 3.5], "DOUBLE[]") == (True, "number 2: one in the last digit")
    assert judge("robust", "1.5 2.5 3.5", [1.6, 2.5, 3.9], "DOUBLE[]") == (False, "number 3: differs by 0.4")
    assert judge("exact", "1.5 2.5", [1.5, math.nan], "DOUBLE[]") == (False, "number 2: isn't finite")
    assert judge("exact", "1.5 2:5", [1.5, 2.5], "DOUBLE[]").remark.startswith("published '2:5' is no plain number")
    assert judge("fragile", "1 2 3", [1, 4, 5, 6], "INTEGER[]").remark == "2 of 3 missing, 3 others, of 1 allowed"


def test_a_found_value_is_shown_with_two_digits_more_than_were_published() -> None:
    assert format_value(0.8437499, "0.84375") == "0.8437499"
    assert format_value(-0.25390625, "-0.25390625") == "-0.2539062500"
    assert format_value(9.6138e-6, "9.61E-6") == "0.0000096138"
    assert format_value(1234.567, "1E+3") == "1234.57"
    assert format_value(Decimal("1.10"), "1.1") == "1.100"
    assert format_value(0.5, "no number") == "0.50"
    assert format_value([0.370915, 2.4e-5, 1.0], "0.37 2.4e-05") == "0.3709 0.00002400 1.00000000"
    assert format_value([0.25, None], "") == "0.25 None"
    assert [format_value(found, "3") for found in (math.nan, math.inf, None, 7, "text", [])] == [
        "nan", "inf", "-", "7", "text", "",
    ]  # fmt: skip


def test_a_truth_value_and_a_list_of_fractions_or_texts_agree_as_they_are_shown() -> None:
    assert judge("exact", "true", True, "BOOLEAN").passes
    assert judge("exact", "0.5 0.25", [0.5, 0.25], "DOUBLE[]").passes
    assert judge("robust", "the cat", ["the", "cat"], "VARCHAR[]").passes
    assert not judge("exact", "1", True, "BOOLEAN").passes
