"""What an ingest, or a later change, tells: what it did, chose and found, how long, and how far it is."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tqdm.auto import tqdm


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

    def add(self, other: "Report", models: Iterable[str]) -> None:
        """Add what another tells of some models."""
        self.models += models
        self.notes += other.notes
        self.warnings += other.warnings
        for stage, seconds in other.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def progress_bar(items: Iterable[Any], stage: str, n_items: int) -> Iterable[Any]:
    """Return the items, with a bar that shows how far they are, where `bar_options` lets it show."""
    return tqdm(items, desc=stage, total=n_items, unit="chunk", leave=False, **bar_options())


def bar_options() -> dict[str, Any]:
    """Return tqdm's options for where bars show: in a notebook, and on a terminal's stderr, but for TQDM_DISABLE=1."""
    if "ipykernel" in sys.modules or "TQDM_DISABLE" in os.environ:
        return {}  # a notebook's stderr is no terminal, and what is given here goes before the environment
    return {"disable": None}
