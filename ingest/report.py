"""What an ingest, or a later change, tells: what it did, chose and found, and the seconds that its stages took."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm


@dataclass
class Report:
    """The models that were published, what was chosen, what the user should know, and seconds by stage."""

    models: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def note(self, model: str, text: str) -> None:
        """Note what a user would want to know of a model."""
        self.notes.append(f"{model}: {text}")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


# (items, the stage's name, how many there are) -> the items
Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]


def progress_bar(items: Iterable[Any], stage: str, n_items: int) -> Iterable[Any]:
    """Show a bar on stderr, where that is a terminal."""
    return tqdm(items, desc=stage, total=n_items, unit="chunk", leave=False, disable=None)


def silent(items: Iterable[Any], stage: str, n_items: int) -> Iterable[Any]:
    """Show nothing."""
    return items
