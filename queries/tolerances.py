"""The judgement of a figure that was found beside the published one, by its class and by the type of its value.

| found | exact | robust | fragile |
|---|---|---|---|
| integer | equal | within 2 (counts at a window's edge) | within 2 %, or 1 where that is less |
| FLOAT, a bf16 value | the same bf16 | the printed digits, the last may differ by one | within one bf16 step |
| DOUBLE | the printed digits; equal, if whole | the printed digits, the last may differ by one | within one bf16 step |
| list of integers | equal | equal | but for 2 % of them, or one where that is less, in any order |
| list of FLOATs or DOUBLEs | as many, each as one alone | as many, each as one alone | as many, each as one alone |
| text, or anything else | equal as printed | equal as printed | equal as printed |

A published number may have an exponent (7.45e-09): its digits are counted as they are printed. Of a robust one no more
than seven are: it is an fp32, which holds no more.

Source of the classes: the README beside the published figures of Qwen3-4B-Instruct-2507.
"""

import math
import re
import struct
from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import NamedTuple, TypeGuard

EDGE = 2
FRAGILE_PERCENT = 2
# Of an fp32: its 24 binary digits are 7.2 decimal ones.
FP32_DIGITS = 7
# Of a DOUBLE, printed in full.
_MOST_DIGITS = 400


class Verdict(NamedTuple):
    """A judgement: whether a figure passes, and a remark on how far it differs."""

    passes: bool
    remark: str = ""


def judge(class_: str, published: str, found: object, type_: str) -> Verdict:
    """Judge a figure; `type_` is DuckDB's name of its type: a FLOAT is taken for a bf16 value.

    >>> judge("exact", "0.13769531", 0.1376953125, "FLOAT")
    Verdict(passes=True, remark='')
    >>> judge("fragile", "2251", 2253, "BIGINT")
    Verdict(passes=True, remark='+2: 0.09 %, of 45 allowed')
    >>> judge("robust", "1.087283", 1.08731, "DOUBLE")
    Verdict(passes=False, remark='differs by 2.7e-05')
    >>> judge("exact", "7.45e-09 0.5", [2.0**-27, 0.75], "DOUBLE[]")
    Verdict(passes=False, remark='number 2: differs by 0.25')
    """
    if found is None:
        return Verdict(False, "nothing found")
    try:
        if _is_integer(found):
            return _integer(class_, _whole(published), found)
        if isinstance(found, float | Decimal):
            return _real(class_, published, float(found), is_bf16=type_ == "FLOAT")
        if isinstance(found, list) and all(map(_is_integer, found)):
            return _list(class_, [_whole(word) for word in published.split()], found)
        if isinstance(found, list) and all(isinstance(number, float | Decimal) for number in found):
            return _reals(class_, published.split(), list(map(float, found)), are_bf16=type_ == "FLOAT[]")
    except ValueError as error:
        return Verdict(False, str(error))
    return Verdict(format_value(found, published) == published)


def format_value(found: object, published: str) -> str:
    """Return a value as it is printed beside a published one: a fraction to its digits, and two more.

    >>> format_value(1.08728312345, "1.087283"), format_value([1, 2], "1 2"), format_value(None, "3")
    ('1.08728312', '1 2', '-')
    >>> format_value(True, "true"), format_value([0.5, 2.0**-27], "0.50 7.45e-09")
    ('true', '0.5000 0.0000000074506')
    """
    if found is None:
        return "-"
    if isinstance(found, bool):
        return str(found).lower()
    if isinstance(found, float | Decimal):
        return f"{found:.{max(0, -_exponent(published)) + 2}f}" if math.isfinite(found) else str(found)
    if isinstance(found, list):
        words = published.split() or [""]
        return " ".join(_format_member(member, words[min(i, len(words) - 1)]) for i, member in enumerate(found))
    return str(found)


def _format_member(member: object, published: str) -> str:
    return format_value(member, published) if isinstance(member, float | Decimal) else str(member)


def _is_integer(found: object) -> TypeGuard[int]:
    return isinstance(found, int) and not isinstance(found, bool)


def _integer(class_: str, published: int, found: int) -> Verdict:
    difference = found - published
    if not difference:
        return Verdict(True)
    if class_ == "exact":
        return Verdict(False, f"{difference:+d}")
    if class_ == "robust":
        return Verdict(abs(difference) <= EDGE, f"{difference:+d}, of {EDGE} allowed")
    allowed = _allowed(abs(published))
    share = f": {100 * abs(difference) / abs(published):.2f} %" if published else ""
    return Verdict(abs(difference) <= allowed, f"{difference:+d}{share}, of {allowed} allowed")


def _allowed(count: int) -> int:
    """Return how many of `count` tokens may differ: always one, which may lie on a rounding boundary."""
    return max(1, count * FRAGILE_PERCENT // 100)


def _real(class_: str, published: str, found: float, *, is_bf16: bool) -> Verdict:
    printed = _published_number(published)
    if not math.isfinite(found):
        return Verdict(False, "isn't finite")
    if class_ == "fragile" or (class_ == "exact" and is_bf16):
        steps = _bf16_place(found) - _bf16_place(float(printed))
        allowed = 1 if class_ == "fragile" else 0
        return Verdict(abs(steps) <= allowed, f"{steps:+d} bf16 steps, of {allowed} allowed" if steps else "")
    last = Decimal(1).scaleb(_last_counted(class_, published))
    difference = abs(Decimal(found) - printed)
    # Printed as a whole number, it is one.
    if difference <= (last / 2 if last < 1 or class_ == "robust" else 0):
        return Verdict(True)
    if class_ == "robust" and difference <= last * 3 / 2:
        return Verdict(True, "one in the last digit")
    return Verdict(False, f"differs by {float(difference):.2g}")


def _reals(class_: str, published: list[str], found: list[float], *, are_bf16: bool) -> Verdict:
    """Judge number by number; the remark is that of the first that fails, or else of the first that has one."""
    if len(found) != len(published):
        return Verdict(False, f"{len(found)}, not {len(published)}")
    verdicts = [_real(class_, *pair, is_bf16=are_bf16) for pair in zip(published, found, strict=True)]
    place, verdict = min(enumerate(verdicts, 1), key=lambda at: (at[1].passes, not at[1].remark))
    return Verdict(verdict.passes, f"number {place}: {verdict.remark}" if verdict.remark else "")


def _list(class_: str, published: list[int], found: list[int]) -> Verdict:
    if found == published:
        return Verdict(True)
    if class_ == "fragile":
        missing, others = ((Counter(a) - Counter(b)).total() for a, b in ((published, found), (found, published)))
        allowed = _allowed(len(published))
        remark = f"{missing} of {len(published)} missing, {others} others, of {allowed} allowed"
        return Verdict(max(missing, others) <= allowed, remark)
    if len(found) != len(published):
        return Verdict(False, f"{len(found)}, not {len(published)}")
    place = next(i for i, pair in enumerate(zip(found, published, strict=True)) if pair[0] != pair[1])
    return Verdict(False, f"number {place + 1} is {found[place]}, not {published[place]}")


def _whole(text: str) -> int:
    if not re.fullmatch(r"\s*-?[0-9]+\s*", text):
        raise ValueError(f"published '{text}' is no integer in plain digits, as the query finds")
    return int(text)


def _published_number(text: str) -> Decimal:
    number = _decimal(text)
    if number is None:
        raise ValueError(f"published '{text}' is no plain number, as the query finds")
    return number


def _last_counted(class_: str, published: str) -> int:
    """Return the power of ten of the last digit that counts."""
    number = _published_number(published)
    holds = number.adjusted() - FP32_DIGITS + 1 if class_ == "robust" and number else _exponent(published)
    return max(_exponent(published), holds)


def _exponent(published: str) -> int:
    """Return the power of ten of the last digit that was printed."""
    number = _decimal(published)
    exponent = number.as_tuple().exponent if number is not None else 0
    return exponent if isinstance(exponent, int) else 0


def _decimal(text: str) -> Decimal | None:
    """Return a number as it is printed; None where it is none, or none that a DOUBLE could be."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    if not number.is_finite() or max(abs(number.adjusted()), len(text)) > _MOST_DIGITS:
        return None
    return number


def _bf16_place(value: float) -> int:
    """Return the place of the nearest bf16 among all of them, 0 at zero: neighbours are one step apart."""
    try:
        bits = int.from_bytes(struct.pack("<f", abs(value)), "little")
    except OverflowError:
        raise ValueError(f"{value} is beyond every bf16") from None
    place = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return -place if value < 0 else place
