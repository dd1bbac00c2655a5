"""Publishing: a new state of the catalog appears whole, or not at all.

Version folders are written in staging, synced and renamed into place; then a new generation (a database file and
the versions it reads) is built beside the old one, and `catalog.duckdb`, a symlink, is swapped to it. That swap is the
commit: a process killed before it leaves the old catalog, after it the new one, and the next publish deletes what was
left lying. A version that was moved in only is told by its staging folder, which is deleted last. A file lock
orders publishers; readers and open shells take no part in it.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from . import paths
from .build import build_database, open_sql
from .disk import link_or_copy, sync_file, write_text
from .errors import CatalogError, listed
from .garbage import (
    LOCK_SUFFIX,
    SWAP,
    clear,
    discard,
    drop_empty,
    generations,
    version_name,
    versions_on_disk,
)
from .state import (
    State,
    Version,
    current_generation,
    is_whole,
    keys_named,
    newest_on_disk,
    read_state,
    require,
    state_of,
)


@dataclass(frozen=True)
class Rebuilt:
    """The result of a rebuild: models shown, found on disk only, and gone; and how many folders it deleted."""

    models: list[str]
    adopted: list[str]
    gone: list[str]
    n_cleared: int


class Staging:
    """A folder in which versions are written before they are published, all at once."""

    def __init__(self, catalog: Path, folder: Path) -> None:
        """Use a staging folder that `staging` made."""
        self._catalog = catalog
        self._folder = folder
        self._versions: dict[str, Version] = {}
        self._changed: dict[str, Version] = {}

    def version(self, model: str, name: str, changed: Version | None = None) -> Path:
        """Return a new, empty folder for the tables of `model`.

        Tables of a `changed` version that aren't written anew are shared with it when the new one is published.
        """
        relative = Path(paths.MODELS_FOLDER, paths.slug(model), version_name(self._folder))
        folder = self._folder / relative
        folder.mkdir(parents=True)
        self._versions[model] = Version(name, relative.as_posix())
        if changed:
            self._changed[model] = changed
        return folder

    def publish(self, *, replace: bool) -> None:
        """Make every version written here the current one of its model, all in one swap.

        With `replace`, they take the place of versions that are there; without it, those are a CatalogError, and
        nothing has changed. A changed version that isn't the current one any more is a CatalogError, too.
        """
        for model, version in self._versions.items():
            if model not in self._changed:
                _seal(self._folder / version.folder, model, version.name)
        names = {model: version.name for model, version in self._versions.items()}
        with _locked(self._catalog):
            state = read_state(self._catalog)
            self._share(state)
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
            clear(self._catalog, new.folders(), previous)

    def _share(self, state: State) -> None:
        """Link the tables that changed versions have in common with what they change."""
        for model, before in self._changed.items():
            if state.models.get(model) != before:
                raise CatalogError(f"{model}: was replaced or removed in the meantime; nothing was changed: try again")
            folder = self._folder / self._versions[model].folder
            for path in (self._catalog / before.folder).glob("*.parquet"):
                if not (folder / path.name).exists():
                    link_or_copy(path, folder / path.name)
            _seal(folder, model, before.name)

    def _move_in(self) -> None:
        """Rename the version folders into their places, where no generation names them yet."""
        for version in self._versions.values():
            destination = self._catalog / version.folder
            destination.parent.mkdir(parents=True, exist_ok=True)
            (self._folder / version.folder).rename(destination)
            sync_file(destination.parent)
        sync_file(self._catalog / paths.MODELS_FOLDER)

    def _move_out(self) -> None:
        """Delete the versions that were moved in, after a swap that failed."""
        current = read_state(self._catalog).folders()
        for version in self._versions.values():
            if version.folder not in current:
                discard(self._catalog, self._catalog / version.folder)
        drop_empty(self._catalog)


def conflicts(state: State, names: Mapping[str, str]) -> list[str]:
    """Return the models in a state whose places new models need, given the name of each new model.

    An untied model's input and output stand side by side; a tied model of their name takes the place of both.

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
    return CatalogError(
        f"{listed(models)}: already in the catalog; `replace=True` puts the new one in its place, `name=` gives another"
    )


@contextmanager
def staging(catalog: Path) -> Iterator[Staging]:
    """Yield a staging area in the catalog, which is made if need be; the area is deleted at the end in any case."""
    catalog = prepare(catalog)
    # In the order of time, so that the newest version of a model is the last.
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}"
    folder = catalog / paths.STAGING / f"{paths.INGEST}{stamp}"
    lock = FileLock(f"{folder}{LOCK_SUFFIX}")
    try:
        with _locked(catalog):
            folder.mkdir()
            # Held for as long as this process lives: staging whose lock is free is a dead process's, and is deleted.
            lock.acquire()
        yield Staging(catalog, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def prepare(catalog: Path) -> Path:
    """Return the absolute path of the catalog's folder, which is made if need be; CatalogError where it can't be."""
    catalog = Path(os.path.abspath(catalog))
    if catalog.exists() and not catalog.is_dir():
        raise CatalogError(f"{catalog}: is a file, and a catalog is a folder; choose another with `catalog=`")
    database = catalog / paths.DATABASE
    if database.exists() and not (catalog / paths.GENERATIONS).exists():
        raise CatalogError(
            f"{database}: is not a token catalog's; move it away, or choose another folder with `catalog=`"
        )
    try:
        catalog.mkdir(parents=True, exist_ok=True)
        (catalog / paths.STAGING).mkdir(exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise CatalogError(f"{catalog}: a file is in the way; choose another folder with `catalog=`") from None
    except OSError as error:
        raise CatalogError(
            f"{catalog}: can't be written ({error.strerror}); choose another folder with `catalog=`"
        ) from None
    return catalog


def remove(catalog: Path, name: str) -> list[str]:
    """Take the models of a key or name out of the catalog, and delete their files; return their keys.

    Files that a shell has open are deleted by the first publish after it was closed.
    """
    catalog = prepare(require(catalog))
    with _locked(catalog):
        state = _settled(catalog)
        gone = state.named(name)
        new = State(_without(state.models, gone), _without(state.before, keys_named(state.before, name)))
        _swap(catalog, new)
        clear(catalog, new.folders())
    return gone


def rebuild(catalog: Path) -> Rebuilt:
    """Make the database anew from the Parquet files, and delete every folder that nothing names any more.

    Models whose folder was copied in by hand are adopted; models whose files are gone are left out.
    """
    if not (Path(catalog) / paths.MODELS_FOLDER).is_dir():
        require(catalog)
    catalog = prepare(catalog)
    with _locked(catalog):
        state = read_state(catalog)
        # Garbage first, so that no version that a dead process left is adopted. Older versions of these models are
        # kept, for one of them may be shown; so is the newest generation, which names them should this process die.
        newest = max(generations(catalog), key=_generation_number, default=None)
        n_cleared = clear(catalog, state.folders() | versions_on_disk(catalog, state), newest)
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
        # The files of a model that is gone are kept until it is ingested again: a missing file may come back.
        new = State(shown | adopted, _without(state.before | state.models, [*shown, *adopted]))
        _swap(catalog, new)
        n_cleared += clear(catalog, new.folders(), also=versions_on_disk(catalog, new))
    return Rebuilt(sorted(new.models), sorted(adopted), sorted(set(models) - set(shown)), n_cleared)


def _without(versions: Mapping[str, Version], models: list[str]) -> dict[str, Version]:
    """Return versions but for those of these models."""
    return {model: version for model, version in versions.items() if model not in models}


def _seal(folder: Path, model: str, name: str) -> None:
    """Write the manifest that makes a version folder whole, and sync it."""
    files = {path.name: path.stat().st_size for path in sorted(folder.glob("*.parquet"))}
    write_text(folder / paths.MANIFEST, json.dumps({"model": model, "name": name, "files": files}, indent=2))
    sync_file(folder)


@contextmanager
def _locked(catalog: Path) -> Iterator[None]:
    """Yield while holding the catalog's lock, which only those that change a catalog take."""
    try:
        with FileLock(catalog / paths.LOCK):
            yield
    except PermissionError as error:
        raise CatalogError(f"{catalog}: can't be written ({error.strerror}); choose another with `catalog=`") from None


def _settled(catalog: Path) -> State:
    """Return the catalog's state, having published it where no generation holds it.

    So a generation names what is removed, and the next publish deletes it, should this process die before it does.
    """
    state = read_state(catalog)
    generation = current_generation(catalog)
    if generation is None or state_of(generation) is None:
        _swap(catalog, state)
    return state


def _generation_number(generation: Path) -> int:
    return int(generation.name)


def _swap(catalog: Path, state: State) -> Path | None:
    """Build the next generation and point `catalog.duckdb` at it; return the generation it pointed at before."""
    previous = current_generation(catalog)
    number = max(map(_generation_number, generations(catalog)), default=0) + 1
    generation = catalog / paths.GENERATIONS / f"{number:06}"
    building = catalog / paths.STAGING / f"{SWAP}{uuid.uuid4().hex}"
    script = catalog / paths.OPEN_SQL
    had_script = script.exists()
    try:
        _build_generation(building / generation.name, catalog, state)
        write_text(building / paths.OPEN_SQL, open_sql())
        (building / paths.DATABASE).symlink_to(generation.relative_to(catalog) / paths.DATABASE)
        generation.parent.mkdir(exist_ok=True)
        (building / generation.name).rename(generation)
        sync_file(generation.parent)
        (building / paths.OPEN_SQL).replace(script)
        sync_file(catalog)  # all that the link leads to is on the disk before the link is
        (building / paths.DATABASE).replace(catalog / paths.DATABASE)
        sync_file(catalog)
    except BaseException:
        if current_generation(catalog) != generation:
            discard(catalog, generation)
            with suppress(OSError):  # it isn't empty, or isn't there
                generation.parent.rmdir()
            if not had_script:
                script.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return previous


def _build_generation(folder: Path, catalog: Path, state: State) -> None:
    """Write a generation: the database over a state's versions, and the state."""
    folder.mkdir(parents=True)
    build_database(folder / paths.DATABASE, catalog, {model: version.folder for model, version in state.models.items()})
    sync_file(folder / paths.DATABASE)
    write_text(folder / paths.STATE, state.dumps())
    sync_file(folder)
