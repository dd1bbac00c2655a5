"""Worker processes: each does a task at a time; one that dies is told of by its source, and another takes its place.

They are spawned, not forked: torch's threads don't survive a fork. Threads and memory are shared out among them.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from token_catalog.catalog.errors import CatalogError

from .work import BYTES_BESIDE, Done, Settings, Task

_SPAWN = get_context("spawn")
# Of the machine's memory, what the workers may have together.
MEMORY_SHARE = 0.8
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class _Worker:
    """A process, the pipe to it, the task that it is at, if any, and the place of the entry that it began last.

    One that `has_begun` none yet may be starting still.
    """

    process: Any
    pipe: Connection
    task: Task | None = None
    place: int = 0
    has_begun: bool = False


class Workers:
    """Some processes that do tasks."""

    def __init__(self, settings: Settings, n: int) -> None:
        """Start `n` of them."""
        self._settings = replace(settings, most_bytes=_memory() // n)
        self._n_threads = max(1, (os.cpu_count() or 1) // n)
        self.workers = [self._started() for _ in range(n)]

    def idle(self) -> int:
        """Return how many have nothing to do."""
        return sum(worker.task is None for worker in self.workers)

    def give(self, task: Task, folder: Path) -> None:
        """Give a task to one that is idle."""
        worker = next(worker for worker in self.workers if worker.task is None)
        if not worker.process.is_alive():
            self._replace(worker)
        worker.task, worker.place = task, 0
        with suppress(OSError):  # it died this moment, which `ended` tells
            worker.pipe.send((task, folder))

    def ended(self, seconds: float) -> Iterator[tuple[Task, Done | BaseException]]:
        """Yield the tasks that end within some seconds, each with what was done, or the error that ended it.

        Of one whose process died, it is a `DiedError`; of one whose process couldn't start, a CatalogError.
        """
        at_work = {worker.pipe: worker for worker in self.workers if worker.task}
        for pipe in wait([*at_work], seconds):
            worker = at_work[pipe]  # type: ignore[index]
            task, told = worker.task, self._told(worker)
            if task is not None and told is not None:
                yield task, told

    def close(self) -> None:
        """End them all, at whatever they are."""
        for worker in self.workers:
            if worker.task:
                worker.process.terminate()
            worker.pipe.close()  # which one without a task waits for
        for worker in self.workers:
            worker.process.join()

    def _told(self, worker: _Worker) -> Done | BaseException | None:
        """Return what a worker says of its task; None where it only says which entry it has begun."""
        try:
            told = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            code = worker.process.exitcode
            if not worker.has_begun and code and code > 0:  # the next ones would do the same
                return CatalogError(
                    f"a worker can't start (it ended with code {code}, and says why above); in a script of yours, "
                    "what takes `jobs=` stands under `if __name__ == '__main__':`"
                )
            died = DiedError(worker.place, code)
            self._replace(worker)
            return died
        if isinstance(told, int):
            worker.place, worker.has_begun = told, True
            return None
        worker.task = None
        answer: Done | BaseException = told
        return answer

    def _replace(self, worker: _Worker) -> None:
        """Start a process in the place of one that died."""
        worker.pipe.close()
        fresh = self._started()
        worker.process, worker.pipe, worker.task, worker.has_begun = fresh.process, fresh.pipe, None, False

    def _started(self) -> _Worker:
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_main, args=(theirs, self._settings, self._n_threads), daemon=True)
        # The bar is the batch's: several would be drawn over each other.
        variables = {**dict.fromkeys(_THREADS, str(self._n_threads)), "TQDM_DISABLE": "1"}
        with _environment(variables), _deaf_to_interruptions():
            process.start()
        theirs.close()
        return _Worker(process, ours)


class DiedError(Exception):
    """A worker's process died at the entry of that place in its task."""

    def __init__(self, place: int, code: int | None) -> None:
        """Tell by which signal, or with which code."""
        killed = code is not None and code < 0
        by = f"by {signal.Signals(-code).name}" if killed and code else f"with code {code}"
        why = (
            "; most likely, it took too much memory: take fewer workers with `jobs=`" if code == -signal.SIGKILL else ""
        )
        super().__init__(f"its worker was ended {by}{why}")
        self.place = place


def _main(pipe: Connection, settings: Settings, n_threads: int) -> None:
    """Do tasks until the pipe is closed, or nobody is at its other end any more."""
    import torch
    from tqdm.auto import tqdm

    tqdm.set_lock(threading.RLock())  # its own is shared among processes, and left behind by one that is ended
    torch.set_num_threads(n_threads)
    with suppress(EOFError, OSError):
        while True:
            task, folder = pipe.recv()
            pipe.send(_outcome(settings, task, folder, pipe))


def _outcome(settings: Settings, task: Task, folder: Path, pipe: Connection) -> Done | Exception:
    """Do a task; return what was done, or the error that ended it."""
    from .work import work

    try:
        return work(settings, task, folder, pipe.send)
    except CatalogError as error:
        return error
    except Exception as error:
        return RuntimeError(f"{type(error).__name__}: {error}")


def most_workers() -> int:
    """Return how many workers the memory is enough for, each with a matrix of next to nothing; one in any case."""
    return max(1, _memory() // BYTES_BESIDE)


def _memory() -> int:
    """Return how many bytes the workers may have together."""
    return int(MEMORY_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


@contextmanager
def _deaf_to_interruptions() -> Iterator[None]:
    """Hold Ctrl-C back in the block, and for good from processes that are started there: they'd die of it importing."""
    resource_tracker.ensure_running()  # else a first start would start it, and let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables for processes that are started in the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
