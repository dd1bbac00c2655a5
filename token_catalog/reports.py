"""What the command line prints of an ingest: seconds and memory; of a batch, a bar, and what failed."""

import re
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from token_catalog.flags import as_flags

if TYPE_CHECKING:
    from token_catalog.ingest.batch.run import BatchReport
    from token_catalog.ingest.report import Report

# So many notes of a batch are printed; one of many models is one.
MOST_LINES = 20


def print_profile(report: "Report") -> None:
    """Print seconds per stage and this process's peak memory to stderr."""
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    for stage, seconds in report.seconds.items():
        print(f"{stage:12}{seconds:8.2f} s", file=sys.stderr)
    print(f"{'total':12}{sum(report.seconds.values()):8.2f} s", file=sys.stderr)
    print(f"{'peak memory':12}{peak / 2**20:8.0f} MiB", file=sys.stderr)


@contextmanager
def batch_bar() -> Iterator[Callable[[int, int, str], None]]:
    """Yield what shows how far a batch is: a bar on a terminal."""
    from tqdm.auto import tqdm

    from token_catalog.ingest.report import bar_options

    with tqdm(unit="source", leave=False, **bar_options()) as bar:

        def show(done: int, of: int, source: str) -> None:
            bar.total = of
            bar.set_postfix_str(source[-40:], refresh=False)
            bar.update(done - bar.n)

        yield show


def print_batch(report: "BatchReport", catalog: Path, app: typer.Typer, *, profile: bool) -> bool:
    """Print what a batch did, and at the end, on stderr, what failed; return whether all went well."""
    for text, models in _by_text(report.warnings).items():
        print(f"warning: {_told_of(models)}: {text}", file=sys.stderr)
    if profile:
        print_profile(report)
    notes = [f"{_told_of(models)}: {text}" for text, models in _by_text(report.notes).items()]
    for note in notes[:MOST_LINES]:
        typer.echo(as_flags(note, app))
    if len(notes) > MOST_LINES:
        typer.echo(f"and {len(notes) - MOST_LINES:,} notes more")
    if report.passed_over:
        typer.echo(f"passed over {_told_of(report.passed_over)}: there already, the same tensor, recipe and version")
    typer.echo(f"catalogued {_told_of(report.models)} in {catalog}")
    for where, message in report.failures:
        print(as_flags(f"failed: {where}: {message}", app), file=sys.stderr)
    if report.failures:
        print(f"{len(report.failures):,} failed; the same command tries these again", file=sys.stderr)
    return not report.failures


def _by_text(messages: list[str]) -> dict[str, list[str]]:
    """Return messages, each of a model, by what they say: what differs in a command's MODEL alone is one.

    >>> _by_text(["a: try `relink a`", "b: try `relink b`", "a: a note"])
    {'try `relink MODEL`': ['a', 'b'], 'a note': ['a']}
    """
    told: dict[str, dict[str, str]] = {}
    for message in messages:
        model, _, text = message.partition(": ")
        told.setdefault(_of_any(text, model), {})[model] = text
    return {general if len(texts) > 1 else next(iter(texts.values())): [*texts] for general, texts in told.items()}


def _of_any(text: str, model: str) -> str:
    """Return a text with MODEL in the place of a model in its commands, in the library's words or the shell's."""
    parts = text.split("`")
    alone = re.compile(rf"(?<![\w./@-]){re.escape(model)}(?![\w./@-])")
    parts[1::2] = [alone.sub("MODEL", part) for part in parts[1::2]]
    return "`".join(parts)


def _told_of(models: list[str]) -> str:
    """Return some models in words.

    >>> _told_of([]), _told_of(["a"]), _told_of(["a", "b", "c"])
    ('nothing', 'a', '3 models, a to c')
    """
    if len(models) < 2:
        return models[0] if models else "nothing"
    return f"{len(models):,} models, {models[0]} to {models[-1]}"
