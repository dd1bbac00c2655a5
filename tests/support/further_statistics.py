"""How the further figures put several numbers into one: statistics in the order that a figure's name has them."""

from collections.abc import Callable, Iterable

import numpy as np

from tests.support.exact import Floats
from tests.support.replica_figures import Value


def lower_median(values: Floats) -> float:
    """Return the median, of an even number of values the lower one in the middle, as torch does.

    >>> lower_median(np.array([4.0, 1.0, 3.0, 2.0]))
    2.0
    """
    middle = (len(values) - 1) // 2
    return float(np.partition(values, middle)[middle])


def _std(values: Floats) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


_STATISTICS: dict[str, Callable[[Floats], float]] = {
    "min": np.min,
    "mean": np.mean,
    "median": lower_median,
    "max": np.max,
    "std": _std,
}


def described(name: str, values: Floats, form: str) -> dict[str, Value]:
    """Return a figure: the statistics that end its name, as text; a single one as a number; of no values, none.

    >>> described("mean_gap_max_mean", np.array([1.0, 2.0]), ".2f"), described("gap_min", np.array([1.0, 2.0]), ".2f")
    ({'mean_gap_max_mean': '2.00 1.50'}, {'gap_min': 1.0})
    """
    words: list[str] = []
    for word in reversed(name.split("_")):
        if word not in _STATISTICS:
            break
        words.insert(0, word)
    if not len(values):
        return {}
    numbers = [float(_STATISTICS[word](values)) for word in words]
    return {name: numbers[0] if len(numbers) == 1 else joined(numbers, form)}


def joined(numbers: Iterable[float], form: str = "d") -> str:
    """Return numbers as text, a space between two.

    >>> joined([1, 2]), joined([0.5, 0.25], ".2e")
    ('1 2', '5.00e-01 2.50e-01')
    """
    return " ".join(format(number, form) for number in numbers)
