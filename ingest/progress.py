"""How far a long stage is: a bar on stderr, where that is a terminal."""

from collections.abc import Callable, Iterable
from typing import Any

from tqdm import tqdm

# (items, the stage's name, how many there are) -> the items
Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]


def shown(items: Iterable[Any], stage: str, n_items: int) -> Iterable[Any]:
    """Show a bar on stderr, where that is a terminal."""
    return tqdm(items, desc=stage, total=n_items, unit="chunk", leave=False, disable=None)


def silent(items: Iterable[Any], stage: str, n_items: int) -> Iterable[Any]:
    """Show nothing."""
    return items
