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
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from dataclasses import replace as replaced
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from filelock import FileLock

from . import paths
from .build import build_generation, models_table, open_sql
from .contents import column_names
from .disk import link_or_copy, sync_file, write_text
from .errors import CatalogError, listed
from .garbage import (
    LOCK_SUFFIX,
    clear,
    clear_definitions,
    discard,
    drop_empty,
    generations,
    version_name,
    versions_on_disk,
)
from .schemas import TABLES
from .state import (
    State,
    Version,
    alone_in_their_folders,
    current_generation,
    is_whole,
    keys_named,
    models_in,
    names_in,
    newest_on_disk,
    pinned,
    read_state,
    require,
    state_of,
)
from .tables import copy_models


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
        self.catalog = catalog
        self.folder = folder
        self.versions: dict[str, Version] = {}
        self._changed: dict[str, Version] = {}

    def version(self, model: str, name: str, changed: Version | None = None) -> Path:
        """Return a new, empty folder for the tables of `model`.

        Tables of a `changed` version that aren't written anew are shared with it when the new one is published.
        """
        folder = self.pack(model)
        self.add(model, name, folder)
        if changed:
            self._changed[model] = changed
        return folder

    def pack(self, name: str) -> Path:
        """Return a new, empty folder, named after a model or a series, for the tables of several models together.

        `add` says which they are. They must be of one series, or of none: `SET VARIABLE series` sees whole files.
        """
        folder = self.folder / paths.MODELS_FOLDER / paths.slug(name) / version_name(self.folder)
        folder.mkdir(parents=True)
        return folder

    def add(self, model: str, name: str, folder: Path) -> None:
        """Say that a folder of `pack` has the tables of a model, whose name is given beside its key."""
        self.versions[model] = Version(name, folder.relative_to(self.folder).as_posix())

    def take_back(self, before: Mapping[str, Version]) -> None:
        """Delete the versions that were not there `before`, which is a copy of `versions`."""
        for folder in {version.folder for version in self.versions.values()} - {v.folder for v in before.values()}:
            shutil.rmtree(self.folder / folder, ignore_errors=True)
        self.versions = dict(before)

    def publish(self, *, replace: bool) -> None:
        """Make every version written here the current one of its model, all in one swap.

        With `replace`, they take the place of versions that are there; without it, those are a CatalogError, and
        nothing has changed. A changed version that isn't the current one any more is a CatalogError, too.
        """
        publish_together([self], replace=replace)

    def names(self) -> dict[str, str]:
        """Return the models written here, with their names."""
        return {model: version.name for model, version in self.versions.items()}

    def seal(self) -> None:
        """Write the manifests that make the folders whole, but for those of changed versions."""
        folders: dict[str, dict[str, str]] = {}
        for model, version in self.versions.items():
            if model not in self._changed:
                folders.setdefault(version.folder, {})[model] = version.name
        for folder, names in folders.items():
            _seal(self.folder / folder, names)

    def share(self, state: State) -> None:
        """Link the tables that changed versions have in common with what they change, and seal these."""
        for model, before in self._changed.items():
            if state.models.get(model) != before:
                raise CatalogError(f"{model}: was replaced or removed in the meantime; nothing was changed: try again")
            folder = self.folder / self.versions[model].folder
            take_over(self.catalog / before.folder, folder, {model})
            _seal(folder, {model: before.name})

    def leave(self, state: State, gone: Collection[str]) -> None:
        """Write anew, without the models that are `gone`, each folder that one of them shares with models that stay."""
        for folder, names in sharing(state, gone).items():
            anew = self.pack(f"{folder} without {listed(sorted(gone))}")
            take_over(self.catalog / folder, anew, names.keys())
            _seal(anew, names)
            for model, name in names.items():
                self.add(model, name, anew)

    def move_in(self) -> None:
        """Rename the version folders into their places, where no generation names them yet."""
        for folder in self.folders():
            destination = self.catalog / folder
            destination.parent.mkdir(parents=True, exist_ok=True)
            (self.folder / folder).rename(destination)
            sync_file(destination.parent)
        sync_file(self.catalog / paths.MODELS_FOLDER)

    def move_out(self) -> None:
        """Delete the versions that were moved in, after a swap that failed."""
        current = read_state(self.catalog).folders()
        for folder in self.folders():
            if folder not in current:
                discard(self.catalog, self.catalog / folder)
        drop_empty(self.catalog)

    def folders(self) -> list[str]:
        """Return the version folders written here, relative to the catalog."""
        return list(dict.fromkeys(version.folder for version in self.versions.values()))


def publish_together(areas: Sequence[Staging], *, replace: bool) -> None:
    """Make every version written in some staging areas of one catalog the current one of its model, all in one swap.

    As `Staging.publish` does, which is for one.
    """
    catalog = areas[0].catalog
    written = [model for area in areas for model in area.versions]
    if twice := sorted({model for model in written if written.count(model) > 1}):
        raise CatalogError(f"{listed(twice)}: written twice in one publish; nothing was changed")
    for area in areas:
        area.seal()
    names = {model: name for area in areas for model, name in area.names().items()}
    with _locked(catalog):
        state = read_state(catalog)
        for area in areas:
            area.share(state)
        taken = conflicts(state, names)
        if taken and not replace:
            raise already_there(taken)
        outlived = conflicts(State(state.before), names)
        before = _without(state.before, outlived) | {model: state.models[model] for model in taken}
        areas[0].leave(state, taken)
        versions = {model: version for area in areas for model, version in area.versions.items()}
        new = replaced(state, models=_without(state.models, taken) | versions, before=before)
        previous = _swap_in(areas, new, state)
        clear(catalog, new.folders(), previous)


def _swap_in(areas: Sequence[Staging], state: State, before: State) -> Path | None:
    """Move what staging areas of one catalog have into its place, and swap; where that fails, delete it again."""
    try:
        for area in areas:
            area.move_in()
        return _swap(areas[0].catalog, state, before)
    except BaseException:
        for area in areas:
            area.move_out()
        raise


def sharing(state: State, gone: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the folders that a model that is `gone` shares with models that stay: {folder: {model: name}} of these."""
    folders = {state.models[model].folder for model in gone}
    shared: dict[str, dict[str, str]] = {}
    for model, version in state.models.items():
        if version.folder in folders and model not in gone:
            shared.setdefault(version.folder, {})[model] = version.name
    return shared


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
    with staging(require(catalog)) as area, _locked(area.catalog):
        state = _settled(area.catalog)
        gone = state.named(name)
        area.leave(state, gone)
        models = _without(state.models, gone) | area.versions
        new = replaced(state, models=models, before=_without(state.before, keys_named(state.before, name)))
        _swap_in([area], new, state)
        clear(area.catalog, new.folders())
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
        found = {
            model: version
            for model, version in on_disk.items()
            if model not in models and not conflicts(State(shown), {model: version.name})
        }
        together = alone_in_their_folders(catalog, shown | found)
        shown, adopted = ({model: together[model] for model in some if model in together} for some in (shown, found))
        # The files of a model that is gone are kept until it is ingested again: a missing file may come back.
        new = State(shown | adopted, _without(state.before | state.models, [*shown, *adopted]))
        _swap(catalog, new, State())
        # What was copied in and can't be shown, as it has a model that is there beside another, isn't ours to delete.
        old = {folder for folder in versions_on_disk(catalog, new) if models_in(catalog / folder) <= new.models.keys()}
        n_cleared += clear(catalog, new.folders(), also=old)
    return Rebuilt(sorted(new.models), sorted(adopted), sorted(set(models) - set(shown)), n_cleared)


def catalogued(catalog: Path) -> pa.Table:
    """Return the rows of `models` of all that a catalog shows, sorted by model; of none, where there is no catalog."""
    catalog = Path(os.path.abspath(catalog))
    with pinned(catalog):
        return models_table(catalog, read_state(catalog))


def take_over(before: Path, folder: Path, models: Collection[str]) -> None:
    """Give a new version folder the tables of one that was before, but those that it has: of these models alone."""
    names = names_in(json.loads((before / paths.MANIFEST).read_text(encoding="utf-8")))
    for table in TABLES:
        path, new = before / table.file_name, folder / table.file_name
        if new.exists() or not path.exists():
            continue
        if names.keys() <= set(models):
            link_or_copy(path, new)
        else:
            copy_models(path, new, models)


def _without(versions: Mapping[str, Version], models: list[str]) -> dict[str, Version]:
    """Return versions but for those of these models."""
    return {model: version for model, version in versions.items() if model not in models}


def _seal(folder: Path, names: Mapping[str, str]) -> None:
    """Write the manifest that makes a version folder whole, and sync it."""
    files = sorted(folder.glob("*.parquet"))
    manifest = {
        "models": dict(names),
        "files": {path.name: path.stat().st_size for path in files},
        "columns": {path.name: column_names(path) for path in files},
    }
    write_text(folder / paths.MANIFEST, json.dumps(manifest, indent=2))
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
        _swap(catalog, state, state)
    return state


def _generation_number(generation: Path) -> int:
    return int(generation.name)


def _swap(catalog: Path, state: State, before: State) -> Path | None:
    """Build the next generation and point `catalog.duckdb` at it; return the generation it pointed at before.

    `before` is the state that it pointed at, of which what stays needn't be read again.
    """
    previous = current_generation(catalog)
    number = max(map(_generation_number, generations(catalog)), default=0) + 1
    generation = catalog / paths.GENERATIONS / f"{number:06}"
    building = catalog / paths.STAGING / f"{paths.SWAP}{uuid.uuid4().hex}"
    script = catalog / paths.OPEN_SQL
    had_script = script.exists()
    try:
        _build_generation(building / generation.name, generation, catalog, state, before)
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
            clear_definitions(catalog)
            for folder in (generation.parent, catalog / paths.DEFINITIONS):
                with suppress(OSError):  # it isn't empty, or isn't there
                    folder.rmdir()
            if not had_script:
                script.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return previous


def _build_generation(folder: Path, generation: Path, catalog: Path, state: State, before: State) -> None:
    """Write a generation: the database over a state's versions, their rows of `models`, and the state."""
    folder.mkdir(parents=True)
    built = build_generation(folder, generation, catalog, state, before)
    sync_file(folder / paths.DATABASE)
    state = replaced(state, definitions=built.definitions, contents=built.contents)
    write_text(folder / paths.STATE, state.dumps())
    sync_file(folder)
