"""Publishing: a new state of the catalog appears whole, or not at all.

Version folders are written in staging, synced and renamed into place; then a new generation (a database file and
the versions it reads) is built beside the old one, and `catalog.duckdb`, a symlink, is swapped to it. That swap is the
commit: a process killed before it leaves the old catalog, after it the new one, and what it left lying is cleared by
the next publish. A file lock orders publishers; readers and open shells take no part in it.
"""

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from catalog import paths
from catalog.build import build_database, open_sql
from catalog.errors import CatalogError
from catalog.state import (
    State,
    Version,
    current_generation,
    is_whole,
    newest_on_disk,
    read_state,
    require,
    shown_state,
    state_of,
    unknown_model,
)
from catalog.tables import sync_file

# What is in staging: an ingest's folder, with a lock beside it that is held for as long as the ingest lives;
# the rest is written under the catalog's lock.
_INGEST = "ingest-"
_SWAP = "swap-"
_TRASH = "trash-"
_LOCK_SUFFIX = ".lock"


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild found: the models shown, those found on disk only, those gone, and how many folders it cleared."""

    models: list[str]
    adopted: list[str]
    gone: list[str]
    n_cleared: int


class Staging:
    """A place to write one or more version folders before anybody sees them."""

    def __init__(self, catalog: Path, folder: Path) -> None:
        """Wrap a staging folder that `staging` made."""
        self._catalog = catalog
        self._folder = folder
        self._versions: dict[str, Version] = {}

    def version(self, model: str, name: str) -> Path:
        """Return a new, empty folder for the tables of `model`."""
        relative = Path(paths.MODELS, paths.slug(model), _version_name(self._folder))
        folder = self._folder / relative
        folder.mkdir(parents=True)
        self._versions[model] = Version(name, relative.as_posix())
        return folder

    def publish(self, *, replace: bool) -> None:
        """Make every version written here the current one of its model, all in one swap.

        Where one is already there, `replace` puts the new one in its place; otherwise CatalogError, and nothing has
        changed.
        """
        for model, version in self._versions.items():
            _seal(self._folder / version.folder, model, version.name)
        names = {model: version.name for model, version in self._versions.items()}
        with _locked(self._catalog):
            state = _settled(self._catalog)
            taken = conflicts(state, names)
            if taken and not replace:
                raise already_there(taken)
            outlived = conflicts(State(state.before), names)
            new = State(
                _without(state.models, taken) | self._versions,
                _without(state.before, outlived) | {model: state.models[model] for model in taken},
            )
            try:
                self._move_in()
                previous = _swap(self._catalog, new)
            except BaseException:
                self._move_out()
                raise
            _clear(self._catalog, new.folders(), previous)

    def _move_in(self) -> None:
        for version in self._versions.values():
            destination = self._catalog / version.folder
            destination.parent.mkdir(parents=True, exist_ok=True)
            (self._folder / version.folder).rename(destination)
            sync_file(destination.parent)
        sync_file(self._catalog / paths.MODELS)

    def _move_out(self) -> None:
        """Take back what was moved in for a swap that didn't happen."""
        current = read_state(self._catalog).folders()
        for version in self._versions.values():
            if version.folder not in current:
                _discard(self._catalog, self._catalog / version.folder)
        _drop_empty(self._catalog)


def conflicts(state: State, names: Mapping[str, str]) -> list[str]:
    """Return the models in the catalog that new ones would take the place of, given the name of each new model.

    An untied model's input doesn't stand in the way of its output; a tied model of that name would.

    >>> state = State({"a/input": Version("a", "models/a-input/1")})
    >>> conflicts(state, {"a/output": "a"}), conflicts(state, {"a": "a"})
    ([], ['a/input'])
    """
    return sorted(
        model
        for model, version in state.models.items()
        if model in names or version.name in names or (model == version.name and model in names.values())
    )


def already_there(models: list[str]) -> CatalogError:
    """Return the error for names that are taken."""
    listed = ", ".join(f"'{model}'" for model in models)
    return CatalogError(
        f"{listed}: already in the catalog; --replace puts the new one in its place, --name gives another"
    )


@contextmanager
def staging(catalog: Path) -> Iterator[Staging]:
    """Give a staging area in the catalog, made if need be; cleared at the end, whatever happened."""
    catalog = prepare(catalog)
    # In the order of time, so that the newest version of a model is the last.
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}"
    folder = catalog / paths.STAGING / f"{_INGEST}{stamp}"
    lock = FileLock(f"{folder}{_LOCK_SUFFIX}")
    try:
        with _locked(catalog):
            folder.mkdir()
            # Held for as long as this process lives: what nobody holds is a dead process's, and is cleared.
            lock.acquire()
        yield Staging(catalog, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def prepare(catalog: Path) -> Path:
    """Make the catalog's folder where there is none, and return its absolute path; CatalogError where it can't be."""
    catalog = Path(os.path.abspath(catalog))
    if catalog.exists() and not catalog.is_dir():
        raise CatalogError(f"{catalog}: is a file, and a catalog is a folder; choose another with --catalog")
    database = catalog / paths.DATABASE
    if database.exists() and not (catalog / paths.GENERATIONS).exists():
        raise CatalogError(
            f"{database}: is not a token catalog's; move it away, or choose another folder with --catalog"
        )
    try:
        catalog.mkdir(parents=True, exist_ok=True)
        (catalog / paths.STAGING).mkdir(exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise CatalogError(f"{catalog}: a file is in the way; choose another folder with --catalog") from None
    except OSError as error:
        raise CatalogError(
            f"{catalog}: can't be written ({error.strerror}); choose another folder with --catalog"
        ) from None
    return catalog


def remove(catalog: Path, name: str) -> list[str]:
    """Take the models of this key or name out, and delete their files; return their keys.

    Files that a shell has open go once it is closed, with the publish after that.
    """
    catalog = prepare(require(catalog))
    with _locked(catalog):
        state = _settled(catalog)
        gone = _named(state.models, name)
        if not gone:
            raise unknown_model(name, state)
        new = State(_without(state.models, gone), _without(state.before, _named(state.before, name)))
        _swap(catalog, new)
        _clear(catalog, new.folders())
    return gone


def rebuild(catalog: Path) -> Rebuilt:
    """Make the database anew from the Parquet files, and clear every folder that nothing names any more.

    Models whose folder was copied in by hand are adopted; models whose files are gone are left out.
    """
    if not (Path(catalog) / paths.MODELS).is_dir():
        require(catalog)
    catalog = prepare(catalog)
    with _locked(catalog):
        state = read_state(catalog)
        # First, for what a dead process left of other models is nothing to adopt; an older version may be, of these.
        n_cleared = _clear(catalog, state.folders() | _on_disk(catalog, state))
        on_disk = newest_on_disk(catalog)
        models = {
            model: version if is_whole(catalog / version.folder) else on_disk.get(model)
            for model, version in state.models.items()
        }
        shown = {model: version for model, version in models.items() if version}
        adopted = {
            model: version
            for model, version in on_disk.items()
            if model not in models and not conflicts(State(shown), {model: version.name})
        }
        # What is left of a model that is gone stays until it is ingested again: a missing file may come back.
        new = State(shown | adopted, _without(state.before | state.models, [*shown, *adopted]))
        _swap(catalog, new)
        n_cleared += _clear(catalog, new.folders(), also=_on_disk(catalog, new))
    return Rebuilt(sorted(new.models), sorted(adopted), sorted(set(models) - set(shown)), n_cleared)


def _version_name(staged: Path) -> str:
    """Return what an ingest's versions are called: as its staging, so that what a dead one moved in is known."""
    return staged.name.removeprefix(_INGEST)


def _named(versions: Mapping[str, Version], name: str) -> list[str]:
    return [model for model, version in versions.items() if name in (model, version.name)]


def _without(versions: Mapping[str, Version], models: list[str]) -> dict[str, Version]:
    return {model: version for model, version in versions.items() if model not in models}


def _seal(folder: Path, model: str, name: str) -> None:
    """Write the manifest that makes a version folder whole, and sync it."""
    files = {path.name: path.stat().st_size for path in sorted(folder.glob("*.parquet"))}
    _write(folder / paths.MANIFEST, json.dumps({"model": model, "name": name, "files": files}, indent=2))
    sync_file(folder)


@contextmanager
def _locked(catalog: Path) -> Iterator[None]:
    try:
        with FileLock(catalog / paths.LOCK):
            yield
    except PermissionError as error:
        raise CatalogError(f"{catalog}: can't be written ({error.strerror}); choose another with --catalog") from None


def _settled(catalog: Path) -> State:
    """Return what the catalog shows, having published what is on disk where no generation tells.

    A version may be moved in only beside a generation that doesn't name it: otherwise one that is there already and
    one that a dead process was about to publish look the same.
    """
    state = shown_state(catalog)
    if state is None:
        state = State(newest_on_disk(catalog))
        _swap(catalog, state)
    return state


def _swap(catalog: Path, state: State) -> Path | None:
    """Build the next generation and point `catalog.duckdb` at it; return the generation it pointed at before."""
    previous = current_generation(catalog)
    number = max((int(generation.name) for generation in _generations(catalog)), default=0) + 1
    generation = catalog / paths.GENERATIONS / f"{number:06}"
    building = catalog / paths.STAGING / f"{_SWAP}{uuid.uuid4().hex}"
    try:
        _build_generation(building / generation.name, catalog, state)
        _write(building / paths.OPEN_SQL, open_sql())
        (building / paths.DATABASE).symlink_to(generation.relative_to(catalog) / paths.DATABASE)
        generation.parent.mkdir(exist_ok=True)
        (building / generation.name).rename(generation)
        sync_file(generation.parent)
        (building / paths.OPEN_SQL).replace(catalog / paths.OPEN_SQL)
        sync_file(catalog)  # all that the link leads to is on the disk before the link is
        (building / paths.DATABASE).replace(catalog / paths.DATABASE)
        sync_file(catalog)
    except BaseException:
        if current_generation(catalog) != generation:
            _discard(catalog, generation)
        raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return previous


def _build_generation(folder: Path, catalog: Path, state: State) -> None:
    folder.mkdir(parents=True)
    build_database(folder / paths.DATABASE, catalog, {model: version.folder for model, version in state.models.items()})
    sync_file(folder / paths.DATABASE)
    _write(folder / paths.STATE, state.dumps())
    sync_file(folder)


def _generations(catalog: Path) -> list[Path]:
    return [path for path in (catalog / paths.GENERATIONS).glob("*") if path.name.isdigit()]


def _on_disk(catalog: Path, state: State) -> set[str]:
    """Return every version folder of these models."""
    folders = (catalog / paths.MODELS / paths.slug(model) for model in state.models)
    return {version.relative_to(catalog).as_posix() for folder in folders for version in folder.glob("*")}


def _clear(catalog: Path, wanted: set[str], previous: Path | None = None, also: Iterable[str] = ()) -> int:
    """Delete what dead processes left, generations nobody reads, and the versions that those name, and `also` these.

    But for the `wanted` versions, and those of a generation that is open. What no generation ever named was copied in
    by hand, and is for a rebuild to adopt. The `previous` generation stays, for who is just opening it: the versions
    that it shows must be wanted.
    """
    current = current_generation(catalog)
    wanted = set(wanted)
    named = set(also)
    superfluous = []
    for generation in _generations(catalog):
        if generation == current:
            continue
        folders = (state_of(generation) or State()).folders()
        if generation != previous and _is_held(generation):
            wanted |= folders
            continue
        named |= folders
        if generation != previous:
            superfluous.append(generation)
    # Versions before the generations that name them: whoever dies in between, the next publish still knows of them.
    n_cleared = _clear_staging(catalog, wanted)
    n_cleared += sum(_discard(catalog, catalog / folder) for folder in sorted(named - wanted))
    n_cleared += sum(_discard(catalog, generation) for generation in superfluous)
    _drop_empty(catalog)
    return n_cleared


def _clear_staging(catalog: Path, wanted: set[str]) -> int:
    """Delete what dead processes left in staging, and the versions they had moved in but not published."""
    staged = catalog / paths.STAGING
    n_cleared = 0
    for path in (*staged.glob(f"{_SWAP}*"), *staged.glob(f"{_TRASH}*")):
        shutil.rmtree(path, ignore_errors=True)
        n_cleared += 1
    for folder in sorted({path.with_suffix("") for path in staged.glob(f"{_INGEST}*")}):
        lock = FileLock(f"{folder}{_LOCK_SUFFIX}", timeout=0)
        with suppress(OSError), lock:  # a Timeout, where it is held; or another user's
            moved_in = (catalog / paths.MODELS).glob(f"*/{_version_name(folder)}")
            torn = [path for path in moved_in if path.relative_to(catalog).as_posix() not in wanted]
            n_cleared += sum(_discard(catalog, path) for path in (*torn, folder))
            Path(lock.lock_file).unlink(missing_ok=True)
    return n_cleared


def _discard(catalog: Path, folder: Path) -> int:
    """Delete a folder so that it is there whole or not at all; return 1 where there was one."""
    trash = catalog / paths.STAGING / f"{_TRASH}{uuid.uuid4().hex}"
    try:
        folder.rename(trash)
    except OSError:  # it isn't there, or can't be deleted: no reason to fail, now that the rest is published
        return 0
    shutil.rmtree(trash, ignore_errors=True)
    return 1


def _drop_empty(catalog: Path) -> None:
    """Delete the folders of models that have no version."""
    for folder in (catalog / paths.MODELS).glob("*"):
        with suppress(OSError):  # it isn't empty
            folder.rmdir()


def _is_held(generation: Path) -> bool:
    """Whether a shell has this generation open, or a copy of its database (`catalog.state.held`).

    DuckDB holds a POSIX lock on what it opened. Those locks are a process's own: what this very process has open isn't
    seen.
    """
    probes = ((paths.DATABASE, fcntl.lockf), (paths.STATE, fcntl.flock))
    for name, lock in probes:
        try:
            with (generation / name).open("r+b") as file:
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            continue
        except OSError:
            return True
    return False


def _write(path: Path, text: str) -> None:
    """Write a small file through to the disk."""
    path.write_text(text, encoding="utf-8")
    sync_file(path)
