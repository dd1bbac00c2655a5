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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from catalog import paths
from catalog.build import build_database, open_sql
from catalog.errors import CatalogError
from catalog.state import State, Version, is_whole, newest_on_disk, read_state, require, unknown_model
from catalog.tables import sync_file

_STAGING_LOCK_SUFFIX = ".lock"


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
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
        relative = Path(paths.MODELS, paths.slug(model), stamp)
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
        with _publishing(self._catalog) as state:
            taken = conflicts(state, {model: v.name for model, v in self._versions.items()})
            if taken and not replace:
                raise already_there(taken)
            kept = {model: version for model, version in state.models.items() if model not in taken}
            before = {
                model: folder for model, folder in state.before.items() if model in kept and model not in self._versions
            } | {model: state.models[model].folder for model in taken}
            try:
                self._move_in()
                _swap(self._catalog, State(kept | self._versions, before))
            except BaseException:
                self._move_out()
                raise

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
    folder = catalog / paths.STAGING / uuid.uuid4().hex
    lock = FileLock(f"{folder}{_STAGING_LOCK_SUFFIX}")
    with _locked(catalog):
        folder.mkdir(parents=True)
        # Held for as long as this process lives: what nobody holds is a dead process's, and is cleared.
        lock.acquire()
    try:
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
    try:
        catalog.mkdir(parents=True, exist_ok=True)
        (catalog / paths.STAGING).mkdir(exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise CatalogError(f"{catalog}: a file is in the way; choose another folder with --catalog") from None
    except OSError as error:
        raise CatalogError(
            f"{catalog}: can't be written ({error.strerror}); choose another folder with --catalog"
        ) from None
    database = catalog / paths.DATABASE
    if database.exists() and not database.is_symlink() and not (catalog / paths.GENERATIONS).exists():
        raise CatalogError(
            f"{database}: is not a token catalog's; move it away, or choose another folder with --catalog"
        )
    return catalog


def remove(catalog: Path, name: str) -> list[str]:
    """Take the models of this key or name out, and delete their files; return their keys."""
    catalog = prepare(require(catalog))
    with _publishing(catalog) as state:
        gone = [model for model, version in state.models.items() if name in (model, version.name)]
        if not gone:
            raise unknown_model(name, state)
        _swap(
            catalog,
            State(
                {model: version for model, version in state.models.items() if model not in gone},
                {model: folder for model, folder in state.before.items() if model not in gone},
            ),
        )
        for model in gone:
            _discard(catalog, catalog / paths.MODELS / paths.slug(model))
    return gone


def rebuild(catalog: Path) -> Rebuilt:
    """Make the database anew from the Parquet files, and clear every folder that nothing names any more.

    Models whose folder was copied in by hand are adopted; models whose files are gone are left out.
    """
    if not (Path(catalog) / paths.MODELS).is_dir():
        require(catalog)
    catalog = prepare(catalog)
    with _publishing(catalog) as state:
        on_disk = newest_on_disk(catalog)
        models = {
            model: version if is_whole(catalog, version) else on_disk.get(model)
            for model, version in state.models.items()
        }
        adopted = {model: version for model, version in on_disk.items() if model not in models}
        shown = {model: version for model, version in models.items() if version} | adopted
        n_cleared = _swap(catalog, State(shown))
    return Rebuilt(sorted(shown), sorted(adopted), sorted(m for m, v in models.items() if not v), n_cleared)


def _seal(folder: Path, model: str, name: str) -> None:
    """Write the manifest that makes a version folder whole, and sync it."""
    files = {path.name: path.stat().st_size for path in sorted(folder.glob("*.parquet"))}
    path = folder / paths.MANIFEST
    path.write_text(json.dumps({"model": model, "name": name, "files": files}, indent=2))
    sync_file(path)
    sync_file(folder)


@contextmanager
def _locked(catalog: Path) -> Iterator[None]:
    try:
        with FileLock(catalog / paths.LOCK):
            yield
    except PermissionError as error:
        raise CatalogError(f"{catalog}: can't be written ({error.strerror}); choose another with --catalog") from None


@contextmanager
def _publishing(catalog: Path) -> Iterator[State]:
    with _locked(catalog):
        yield read_state(catalog)


def _swap(catalog: Path, state: State) -> int:
    """Build the next generation, point `catalog.duckdb` at it, and clear what it made superfluous."""
    generations = catalog / paths.GENERATIONS
    generations.mkdir(exist_ok=True)
    numbers = [int(path.name) for path in generations.iterdir() if path.name.isdigit()]
    number = max(numbers, default=0) + 1
    generation = generations / f"{number:06}"
    building = catalog / paths.STAGING / f"generation-{uuid.uuid4().hex}"
    building.mkdir()
    try:
        build_database(
            building / paths.DATABASE,
            catalog,
            {model: version.folder for model, version in state.models.items()},
        )
        (building / paths.STATE).write_text(state.dumps())
        for path in (building / paths.DATABASE, building / paths.STATE, building):
            sync_file(path)
        building.rename(generation)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    sync_file(generations)
    _write_beside(catalog / paths.OPEN_SQL, open_sql())
    link = catalog / paths.STAGING / f"link-{uuid.uuid4().hex}"
    link.symlink_to(generation.relative_to(catalog) / paths.DATABASE)
    link.replace(catalog / paths.DATABASE)
    sync_file(catalog)
    return _clear(catalog, generation, state)


def _clear(catalog: Path, current: Path, state: State) -> int:
    """Delete dead processes' staging, generations nobody reads, and versions that no kept generation names."""
    n_cleared = _clear_staging(catalog)
    wanted = state.folders()
    older = sorted((p for p in (catalog / paths.GENERATIONS).iterdir() if p != current), reverse=True)
    for age, generation in enumerate(older):
        if _is_held(generation / paths.DATABASE):
            with suppress(OSError, ValueError, KeyError, TypeError):
                wanted |= State.loads((generation / paths.STATE).read_text()).folders()
        elif age > 0:  # the one before serves who is just opening it
            n_cleared += _discard(catalog, generation)
    for model in state.models:
        for version in (catalog / paths.MODELS / paths.slug(model)).iterdir():
            if version.relative_to(catalog).as_posix() not in wanted:
                n_cleared += _discard(catalog, version)
    return n_cleared


def _clear_staging(catalog: Path) -> int:
    n_cleared = 0
    for path in (catalog / paths.STAGING).iterdir():
        if path.suffix == _STAGING_LOCK_SUFFIX:
            continue
        lock = Path(f"{path}{_STAGING_LOCK_SUFFIX}")
        try:
            with FileLock(lock, timeout=0):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
                n_cleared += 1
        except Timeout:
            continue
        lock.unlink(missing_ok=True)
    return n_cleared


def _discard(catalog: Path, folder: Path) -> int:
    """Delete a folder so that it is there whole or not at all; return 1 where there was one."""
    if not folder.exists():
        return 0
    trash = catalog / paths.STAGING / f"trash-{uuid.uuid4().hex}"
    folder.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)
    return 1


def _is_held(database: Path) -> bool:
    """Whether another process has this database open (DuckDB holds a POSIX lock on what it opened)."""
    try:
        with database.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _write_beside(path: Path, text: str) -> None:
    """Replace a small file in one step."""
    beside = path.parent / paths.STAGING / f"{path.name}-{uuid.uuid4().hex}"
    beside.write_text(text)
    sync_file(beside)
    beside.replace(path)
