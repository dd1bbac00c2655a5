"""What a series' views must give, by the contract alone: every step beside the one before it, in exact fractions."""

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

Row = Sequence[float]
Rows = Sequence[Row]
Event = tuple[Any, ...]


def is_finite(row: Row) -> bool:
    """Return whether a row has neither a NaN nor an infinity."""
    return all(map(math.isfinite, row))


def distance(a: Row, b: Row) -> float | None:
    """Return the distance of two rows, rounded twice; None where one isn't finite.

    >>> distance([3.0, 0.0], [0.0, -4.0])
    5.0
    """
    if not (is_finite(a) and is_finite(b)):
        return None
    return math.sqrt(sum((Fraction(x) - Fraction(y)) ** 2 for x, y in zip(a, b, strict=True)))


def changed(a: Row, b: Row) -> bool | None:
    """Return whether two finite rows differ in value; None where one isn't finite.

    >>> changed([0.0, 1.0], [-0.0, 1.0]), changed([0.0], [1e-45]), changed([math.nan], [math.nan])
    (False, True, None)
    """
    return list(a) != list(b) if is_finite(a) and is_finite(b) else None


def mean(W: Rows) -> list[Fraction]:
    """Return the mean of the finite rows, exactly."""
    finite = [row for row in W if is_finite(row)]
    return [sum(map(Fraction, column), Fraction(0)) / len(finite) for column in zip(*finite, strict=True)]


def from_mean(W: Rows) -> float:
    """Return the root of the mean squared distance of the finite rows from their mean."""
    centre, finite = mean(W), [row for row in W if is_finite(row)]
    squares = sum((Fraction(x) - c) ** 2 for row in finite for x, c in zip(row, centre, strict=True))
    return math.sqrt(squares / len(finite))


def frozen(changes: Sequence[bool | None], steps: Sequence[int]) -> tuple[int | None, int, int | None]:
    """Return from which step a row stands still, for how many steps, and how often it changed.

    `changes` are of each step but the first.

    >>> frozen([False, True, False, False], [0, 1, 2, 3, 4]), frozen([False, True], [0, 1, 2])
    ((2, 2, 1), (None, 0, 1))
    """
    still = 0
    for change in reversed(changes):
        if change is not False:
            break
        still += 1
    known = [change for change in changes if change is not None]
    return steps[-1 - still] if still else None, still, sum(known) if known else None


def places(W: Rows) -> dict[int, frozenset[int]]:
    """Return the tokens that each token's row is equal to, itself included."""
    found = {}
    for token, row in enumerate(W):
        equal = {other for other, its in enumerate(W) if is_finite(row) and list(its) == list(row)}
        found[token] = frozenset(equal or {token})
    return found


def events(before: Rows, after: Rows) -> Iterator[Event]:
    """Yield what became of the groups of equal rows: (event, lowest, how many alone, other groups, tokens).

    >>> list(events([[1], [1], [2], [3]], [[1], [1], [1], [3]]))
    [('joined', 0, 1, [0], [0, 1, 2])]
    >>> list(events([[1], [1], [1], [3], [4]], [[1], [1], [2], [3], [3]]))
    [('born', 3, 2, [], [3, 4]), ('split', 0, 1, [0], [0, 1, 2])]
    """
    was, is_now = places(before), places(after)
    for group in sorted({place for place in is_now.values() if len(place) > 1}, key=min):
        if all(len(was[token]) == 1 for token in group):
            yield _event("born", group, was)
        elif len({was[token] for token in group}) > 1:
            yield _event("joined", group, was)
    for group in sorted({place for place in was.values() if len(place) > 1}, key=min):
        parts = {is_now[token] & group for token in group}
        if all(len(part) == 1 for part in parts):
            yield _event("gone", group, is_now)
        elif len(parts) > 1:
            yield _event("split", group, is_now)


def _event(name: str, group: frozenset[int], other: Mapping[int, frozenset[int]]) -> Event:
    groups = sorted({min(other[token]) for token in group if len(other[token]) > 1})
    n_alone = sum(len(other[token]) == 1 for token in group)
    return name, min(group), n_alone, groups, sorted(group)
