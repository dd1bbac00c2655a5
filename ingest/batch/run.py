"""A batch: many sources, in turn or by several workers, published as they come; what fails is told at the end.

Each model is published whole or not at all, and small ones of a series a few seconds' worth at a time. A batch that was
ended at any moment is begun again by the same command, which passes over what is there.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from token_catalog.catalog.errors import CatalogError, listed
from token_catalog.catalog.publish import Staging, conflicts, prepare, publish_together, staging
from token_catalog.catalog.state import State, Version

from ..devices import fp64_device
from ..report import Report
from . import plan
from .entries import Entry, check_entries
from .work import Done, Settings, Task, forget, work
from .workers import DiedError, Workers, most_workers

# How long what is ready waits for more, so that a swap is at most every so many seconds.
SWAP_SECONDS = 3.0

# Told of every entry that is done: how many are, of how many, and the last one's source.
Progress = Callable[[int, int, str], None]


@dataclass
class BatchReport(Report):
    """What a batch did: `models` that it published, those `passed_over` as they were there, and what failed, and why.

    A failure is the place that the source was asked for (the source itself, or a list and its line), and a message.
    """

    passed_over: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)


def ingest_many(
    settings: Settings,
    entries: Sequence[Entry],
    *,
    frame_of: int | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> BatchReport:
    """Catalogue the sources of a batch, those of a series on one sky; return what was done.

    CatalogError, before anything is done, where they can't be a batch; what one source lacks is among the failures.
    """
    entries = check_entries(entries)
    n_workers = min(jobs, len(entries))
    _check_asked(settings, entries, frame_of, jobs)
    prepare(settings.catalog)
    forget()
    batch = _Batch(settings, len(entries), progress)
    with ExitStack() as stack:
        # Last of all: nobody writes there any more.
        stack.callback(batch.close)
        workers = None
        if n_workers > 1:
            workers = Workers(settings, n_workers)
            stack.callback(workers.close)
        groups = plan.grouped(entries)
        firsts = {
            group: plan.frames_first(settings.catalog, group, members, frame_of, replace=settings.replace)
            for group, members in groups.items()
        }
        tasks: list[Task] = []
        for group, members in groups.items():
            first = batch.ingest_first(firsts[group])
            rest = [entry for entry in members if entry is not first and entry not in batch.failed]
            if firsts[group] and first is None:
                batch.fail(rest, f"`frame_of={frame_of}`: that step can't be ingested, so the series has no sky")
                continue
            tasks += [Task(part, sky_of=first.options.name if first else None) for part in plan.parts(rest, jobs)]
        batch.do(tasks, workers)
        batch.swap()
    order = {entry.options.name: place for place, entry in enumerate(entries)}
    for models in (batch.report.models, batch.report.passed_over):
        models.sort(key=lambda model: order.get(model, order.get(model.rpartition("/")[0], 0)))
    return batch.report


def _check_asked(settings: Settings, entries: Sequence[Entry], frame_of: int | None, jobs: int) -> None:
    """Raise CatalogError where what goes for all of a batch can't be: none of its sources could be ingested."""
    if jobs < 1:
        raise CatalogError(f"`jobs={jobs}`: a number of workers, from 1")
    if 1 < min(jobs, len(entries)) > most_workers():
        raise CatalogError(f"`jobs={jobs}`: this machine's memory is enough for {most_workers():,} at most")
    if frame_of is not None and all(entry.series is None for entry in entries):
        raise CatalogError(
            f"`frame_of={frame_of}`: no source is a step of a series; `step_from=` finds steps in names, `steps=True` "
            "in a file"
        )
    fp64_device(settings.device)


class _Batch:
    """The staging areas that are at work or wait for a swap, and what was done so far."""

    def __init__(self, settings: Settings, n_entries: int, progress: Progress | None) -> None:
        self.report = BatchReport()
        self.failed: list[Entry] = []
        self._settings, self._n_entries, self._progress = settings, n_entries, progress
        self._n_done = 0
        self._made: dict[str, Version] = {}
        self._ready: list[tuple[ExitStack, Staging, Done]] = []
        self._at_work: list[tuple[Task, ExitStack, Staging]] = []
        self._swapped = time.monotonic()

    def ingest_first(self, candidates: Sequence[Entry]) -> Entry | None:
        """Ingest and publish the first of some entries that can be ingested: the others take their sky from it."""
        for entry in candidates:
            n_failures = len(self.failed)
            self._do_here(Task([entry], first=True))
            self.swap()
            if len(self.failed) == n_failures:
                return entry
        return None

    def do(self, tasks: Sequence[Task], workers: Workers | None) -> None:
        """Do tasks, here or by workers, and publish as they come."""
        waiting = deque(tasks)
        while waiting or self._at_work:
            if workers is None:
                waiting.extendleft(self._do_here(waiting.popleft()))
            else:
                while waiting and workers.idle():
                    task = waiting.popleft()
                    workers.give(task, self._opened(task))
                for task, told in workers.ended(SWAP_SECONDS):
                    waiting.extendleft(self._finished(task, told))
            if time.monotonic() > self._swapped + SWAP_SECONDS:
                self.swap()

    def swap(self) -> None:
        """Publish what is ready, in one swap."""
        ready, self._ready = self._ready, []
        self._swapped = time.monotonic()
        try:
            areas = [area for _, area, done in ready if done.versions]
            if areas:
                with self.report.stage("publish"):
                    publish_together(areas, replace=self._settings.replace)
            for _, _, done in ready:
                self.report.add(done.report, done.report.models)
        except CatalogError as error:  # a name that was taken meanwhile, say: none of them is there
            for entry in [entry for _, _, done in ready for entry in done.entries()]:
                self._fail(entry, str(error))
        finally:
            for stack, _, _ in ready:
                stack.close()

    def close(self) -> None:
        """Delete what is staged and wasn't published."""
        for stack in [stack for stack, _, _ in self._ready] + [stack for _, stack, _ in self._at_work]:
            stack.close()

    def _do_here(self, task: Task) -> list[Task]:
        """Do a task in this process; return what is left of it."""
        return self._finished(task, work(self._settings, task, self._opened(task)))

    def _opened(self, task: Task) -> Path:
        """Return the folder of a new staging area, for a task that is at work from now on."""
        stack = ExitStack()
        area = stack.enter_context(staging(self._settings.catalog))
        self._at_work.append((task, stack, area))
        return area.folder

    def _finished(self, task: Task, told: Done | BaseException) -> list[Task]:
        """Take over what was done of a task; return what is left of it."""
        place = next(place for place, (known, _, _) in enumerate(self._at_work) if known is task)
        _, stack, area = self._at_work.pop(place)
        if isinstance(told, BaseException):
            stack.close()
            return self._lost(task, told)
        for entry, message in told.failures:
            self._fail(entry, message)
        twice = conflicts(State(self._made), {model: version.name for model, version in told.versions.items()})
        if twice:
            stack.close()
            return self._made_twice(task, told, twice)
        area.versions = told.versions
        self._made |= told.versions
        self._ready.append((stack, area, told))
        self.report.passed_over += told.passed_over
        self._tell(task.entries[: len(task.entries) - len(told.left)])
        return [replace(task, entries=told.left)] if told.left else []

    def _made_twice(self, task: Task, told: Done, twice: Collection[str]) -> list[Task]:
        """Take a task of which some models have the names of others of this batch: these fail, the rest is left."""
        message = f"{listed(sorted(twice))}: is the name of another source of this batch; a list gives it another"
        again = []
        for entry in told.entries():
            names = {model: told.versions[model].name for model in told.made if told.made[model] is entry}
            if conflicts(State(self._made), names):
                self._fail(entry, message)
            else:
                again.append(entry)
        left = [*again, *told.left]
        self.report.passed_over += told.passed_over
        self._tell([entry for entry in task.entries if entry not in left])
        return [replace(task, entries=left)] if left else []

    def _lost(self, task: Task, error: BaseException) -> list[Task]:
        """Take a task whose worker failed: the entry that it was at is a failure, the others are left."""
        if not isinstance(error, DiedError):
            raise error
        self._fail(task.entries[error.place], str(error))
        self._tell([task.entries[error.place]])
        left = [entry for place, entry in enumerate(task.entries) if place != error.place]
        return [replace(task, entries=left)] if left else []

    def fail(self, entries: Sequence[Entry], message: str) -> None:
        """Count entries among the failures, none of which was begun."""
        for entry in entries:
            self._fail(entry, message)
        self._tell(entries)

    def _fail(self, entry: Entry, message: str) -> None:
        self.failed.append(entry)
        self.report.failures.append((entry.where, message))

    def _tell(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._n_done += 1
            if self._progress:
                self._progress(self._n_done, self._n_entries, entry.where)
