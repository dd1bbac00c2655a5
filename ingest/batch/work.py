"""What a worker does: the entries of a task, one after another, into a staging area that the batch publishes.

A worker may be the batch's own process, or one beside it: what goes in and comes out can be pickled.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path

import torch

from token_catalog.catalog.errors import CatalogError, listed
from token_catalog.catalog.publish import Staging, already_there, conflicts
from token_catalog.catalog.state import State, Version, pinned

from ..devices import enough_memory
from ..new_version import NewVersion
from ..recipe.recipe import LinkageDistances
from ..recipe.shipping import load_recipe
from ..report import Report
from ..run import Asked, Job, Place, ingest_matrix, note_same_tensor, prepare
from ..shared_sky import SharedSky, read_shared, rule_of
from ..source.matrix import Matrix
from ..source.vocabulary import Token, load_vocabulary
from .entries import Entry
from .known import forget_known, known
from .pack import HeldVersion, Pack

# What a folder of small matrices may have, and how long a worker may be at it: then it is published.
PACK_BYTES = 64 << 20
PACK_MODELS = 100
PACK_SECONDS = 4.0
# A matrix of so many bytes or more has a folder of its own.
SMALL_BYTES = 16 << 20
# A matrix of fewer values is computed by one thread; from there on, two are as fast or faster.
ONE_THREAD_VALUES = 2 << 20
# What an ingest takes for each value of W and each of its rows, at most, and beside them. Workers took, measured: 0.39
# GiB for 2,000 x 64, 0.83 for 30,000 x 512 of fp32, 0.93 for 20,000 x 2,048, 1.27 for 120,000 x 64.
BYTES_A_VALUE, BYTES_A_ROW, BYTES_BESIDE = 12, 8 << 10, 480 << 20

# The skies of series, for as long as a batch lives.
_SHARED: dict[tuple[Path, str, str | None, str | None, str | None], SharedSky] = {}
_ALLOCATION_FAILED = ("allocate memory", "not enough memory", "out of memory")


@dataclass(frozen=True)
class Settings:
    """What goes for every entry of a batch. `most_bytes` is a worker's share of the memory, None for all."""

    catalog: Path
    linked: LinkageDistances = field(default_factory=LinkageDistances)
    device: str = "auto"
    replace: bool = False
    with_vectors: bool = True
    with_tokenizer: bool = True
    most_bytes: int | None = None


@dataclass(frozen=True)
class Task:
    """Entries of one series and role, or of none, for one worker.

    `first` says that the entry's own sky is its series'; else that is the one of the model named `sky_of`, or, where
    this is None, the one that members in the catalog have.
    """

    entries: Sequence[Entry]
    first: bool = False
    sky_of: str | None = None


@dataclass
class Done:
    """What a worker did of a task: versions, and which entries made them; what was there, what failed, what is left."""

    versions: dict[str, Version] = field(default_factory=dict)
    made: dict[str, Entry] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)
    failures: list[tuple[Entry, str]] = field(default_factory=list)
    left: list[Entry] = field(default_factory=list)
    report: Report = field(default_factory=Report)

    def entries(self) -> list[Entry]:
        """Return the entries whose matrices are in the staging area."""
        return list({id(entry): entry for entry in self.made.values()}.values())


def work(settings: Settings, task: Task, folder: Path, began: Callable[[int], None] = lambda place: None) -> Done:
    """Ingest the entries of a task into a staging folder, until that is full; `began` is told each one's place.

    An entry that can't be ingested is a failure, and the others go on. CatalogError where the files of the small ones
    can't be written: then none of the task is published.
    """
    done = Done()
    area = Staging(settings.catalog, folder)
    until = time.monotonic() + PACK_SECONDS
    packing = _Packing(area, task.entries[0].series)
    try:
        for place, entry in enumerate(task.entries):
            if packing.is_full() or (place and time.monotonic() > until):
                done.left = list(task.entries[place:])
                break
            began(place)
            try:
                with _as_failures():
                    held, name = _ingest_entry(settings, entry, task, area, done)
            except CatalogError as error:
                done.failures.append((entry, str(error)))
            else:
                packing.add(held, name)
        packing.close()
    except OSError as error:  # half of a matrix may be in the files of the small ones: none of them is to be published
        packing.abandon()
        raise CatalogError(f"{settings.catalog}: can't be written ({error}); what was published stays") from error
    except BaseException:
        packing.abandon()
        raise
    done.versions = area.versions
    return done


def forget() -> None:
    """Forget what was read for the batch before."""
    _SHARED.clear()
    forget_known()
    _loaded_vocabulary.cache_clear()


class _Packing:
    """The folder of a task's small matrices, made with the first."""

    def __init__(self, area: Staging, series: str | None) -> None:
        self._area, self._series = area, series
        self._folder: Path | None = None
        self._pack: Pack | None = None
        self._n_models = self._n_bytes = 0

    def add(self, versions: Sequence[HeldVersion], name: str) -> None:
        if not versions:
            return
        if self._folder is None or self._pack is None:
            self._folder = self._area.pack(self._series or versions[0].model)
            self._pack = Pack(self._folder)
        for held in versions:
            self._pack.add(held)
            self._area.add(held.model, name, self._folder)
            self._n_bytes += sum(part.nbytes for parts in held.tables.values() for part in parts)
        self._n_models += len(versions)

    def is_full(self) -> bool:
        return self._n_models >= PACK_MODELS or self._n_bytes >= PACK_BYTES

    def close(self) -> None:
        if self._pack:
            self._pack.close()

    def abandon(self) -> None:
        if self._pack:
            self._pack.abandon()


def _ingest_entry(
    settings: Settings, entry: Entry, task: Task, area: Staging, done: Done
) -> tuple[list[HeldVersion], str]:
    """Ingest the matrices of one entry, all or none; return the small ones, which are still to be written."""
    report = Report()
    job = _job(settings, entry, task, report)
    matrices, name = job.source.matrices, job.source.name
    _check_memory(settings, [matrix for _, matrix in matrices.values()])
    there = known(settings.catalog)
    if there.has(job, first=task.first):
        done.passed_over += matrices
        return [], name
    taken = conflicts(there.state, dict.fromkeys(matrices, name))
    if taken and not settings.replace:
        raise already_there(taken)
    _refuse_staged(area, job)
    held: list[HeldVersion] = []
    with _taken_back(area):
        for model, (kind, matrix) in matrices.items():
            new: NewVersion
            if _is_small(matrix):
                new = HeldVersion(model, settings.catalog, {}, report)
                held.append(new)
            else:
                new = NewVersion(model, area.version(model, name), {}, report)
            with enough_memory(model), _threads_for(matrix):
                ingest_matrix(job, new, kind, matrix)
            note_same_tensor(there.tensors, new)
    done.report.add(report, matrices)
    done.made |= dict.fromkeys(matrices, entry)
    return held, name


def _job(settings: Settings, entry: Entry, task: Task, report: Report) -> Job:
    recipe = None if entry.recipe is None else load_recipe(entry.recipe)
    asked = Asked(recipe, settings.linked, settings.device, settings.with_vectors, settings.with_tokenizer)
    job = prepare(settings.catalog, entry.source, entry.options, asked, report, _loaded_vocabulary)
    job = replace(job, place=Place(entry.series, entry.step, entry.role))
    if entry.series is None or task.first:
        return job
    return replace(job, shared=partial(_shared, settings.catalog, entry.series, entry.role, task.sky_of))


@lru_cache(maxsize=2)
def _loaded_vocabulary(folder: Path) -> dict[int, Token]:
    """Return the entries of a tokenizer, read once for all the steps of a run."""
    return load_vocabulary(folder)


def _shared(catalog: Path, series: str, role: str | None, sky_of: str | None, kind: str | None) -> SharedSky:
    """Return the sky that members of a series share, of a role and a kind of matrix; CatalogError where there is none.

    The distances are those of a member that has them from the series: one may have been linked anew since.
    """
    key = catalog, series, role, sky_of, kind
    if key not in _SHARED:
        members = [row for row in known(catalog).members(series, role) if row["matrix"] == kind and row["frame_of"]]
        members = [row for row in members if sky_of in (None, row["name"])]
        members.sort(key=lambda row: (row["linkage_rule"] != rule_of(row["frame_of"]), row["model"] != row["frame_of"]))
        with pinned(catalog):
            shared = read_shared(members[0]["folder"], members[0]["model"]) if members else None
        if shared is None:
            raise CatalogError(
                f"the series '{series}' has no sky for {f'its {kind} matrices' if kind else 'bare matrices'}; "
                "`series=` gives these one of their own"
            )
        _SHARED[key] = shared
    return _SHARED[key]


def _refuse_staged(area: Staging, job: Job) -> None:
    """Raise CatalogError where another entry of the same task has a model's name."""
    staged = conflicts(State(area.versions), dict.fromkeys(job.source.matrices, job.source.name))
    if staged:
        raise CatalogError(
            f"{listed(staged)}: is the name of another source of this batch; a list gives it another, by `name`"
        )


@contextmanager
def _taken_back(area: Staging) -> Iterator[None]:
    """Yield, and take what was put into the area back where that fails."""
    before = dict(area.versions)
    try:
        yield
    except BaseException:
        area.take_back(before)
        raise


@contextmanager
def _threads_for(matrix: Matrix) -> Iterator[None]:
    """Keep torch to one thread for a small matrix: it gains nothing by more, which wait for each other busily."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if matrix.n_tokens * matrix.n_dims < ONE_THREAD_VALUES else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _is_small(matrix: Matrix) -> bool:
    """Whether a matrix is held in memory, and shares its files: W is small, and so are its components."""
    return max(_n_bytes(matrix), 8 * matrix.n_dims**2) < SMALL_BYTES


def _n_bytes(matrix: Matrix) -> int:
    return matrix.n_tokens * matrix.n_dims * (4 if matrix.dtype == "fp32" else 2)


def _check_memory(settings: Settings, matrices: Iterable[Matrix]) -> None:
    needed = BYTES_BESIDE + max(one.n_tokens * (BYTES_A_ROW + one.n_dims * BYTES_A_VALUE) for one in matrices)
    if settings.most_bytes is not None and needed > settings.most_bytes:
        raise CatalogError(
            f"needs some {needed / 2**30:.1f} GiB of memory, and a worker's share is {settings.most_bytes / 2**30:.1f} "
            "GiB; take fewer with `jobs=`"
        )


@contextmanager
def _as_failures() -> Iterator[None]:
    """Turn what an entry may fail of, without anybody's fault, into a CatalogError."""
    try:
        yield
    except MemoryError:
        raise CatalogError("ran out of memory; take fewer workers with `jobs=`") from None
    except CatalogError:
        raise
    except OSError as error:
        raise CatalogError(f"can't be read, or its tables written ({error})") from None
    except Exception as error:  # the others go on, whatever it was
        if any(said in str(error) for said in _ALLOCATION_FAILED):  # torch's own, of its allocator
            raise CatalogError("ran out of memory; take fewer workers with `jobs=`") from None
        raise CatalogError(f"failed ({type(error).__name__}: {error}); ingested alone, it tells where") from error
