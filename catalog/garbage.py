"""Garbage collection: delete unreferenced versions and generations, and what dead processes left; never foreign files.

Call it under the catalog's lock. A folder is renamed into staging before it is deleted, so it is there whole or not at
all.
"""

import fcntl
import shutil
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from . import paths
from .state import State, current_generation, is_being_published, state_of

_TRASH = "trash-"
LOCK_SUFFIX = ".lock"


def version_name(staged: Path) -> str:
    """Return the name of the versions that an ingest writes, given its staging folder: it tells whose they are."""
    return staged.name.removeprefix(paths.INGEST)


def generations(catalog: Path) -> list[Path]:
    """Return the folders of all generations."""
    return [path for path in (catalog / paths.GENERATIONS).glob("*") if path.name.isdigit()]


def versions_on_disk(catalog: Path, state: State) -> set[str]:
    """Return the version folders of a state's models, relative to the catalog; none that was moved in only."""
    of_models = {paths.slug(model) for model in state.models}
    of_models |= {Path(version.folder).parent.name for version in state.models.values()}
    versions = (version for name in of_models for version in (catalog / paths.MODELS_FOLDER / name).glob("*"))
    return {path.relative_to(catalog).as_posix() for path in versions if not is_being_published(catalog, path)}


def clear(catalog: Path, wanted: set[str], previous: Path | None = None, also: Iterable[str] = ()) -> int:
    """Delete unreferenced folders and what dead processes left; return how many.

    Generations are deleted that aren't current and that nobody has open, with the versions that they name; so are the
    versions `also` given. Kept are `wanted` versions, those of open generations, and the `previous` generation, which
    somebody may be about to open: the versions that it shows must be wanted. A version that no generation names was
    copied in by hand; `rebuild` adopts it.
    """
    current = current_generation(catalog)
    wanted = set(wanted)
    named = set(also)
    superfluous = []
    for generation in generations(catalog):
        if generation == current:
            continue
        folders = (state_of(generation) or State()).folders()
        if generation != previous and _is_held(generation):
            wanted |= folders
            continue
        named |= folders
        if generation != previous:
            superfluous.append(generation)
    # Versions before the generations that name them: should this process die in between, the next publish finds them.
    n_cleared = _clear_staging(catalog, wanted)
    n_cleared += sum(discard(catalog, catalog / folder) for folder in sorted(named - wanted))
    n_cleared += sum(discard(catalog, generation) for generation in superfluous)
    clear_definitions(catalog)
    drop_empty(catalog)
    return n_cleared


def clear_definitions(catalog: Path) -> None:
    """Delete the definitions that no generation names."""
    named = {state.definitions for generation in generations(catalog) if (state := state_of(generation))}
    for folder in (catalog / paths.DEFINITIONS).glob("*"):
        if folder.name not in named:
            discard(catalog, folder)


def _clear_staging(catalog: Path, wanted: set[str]) -> int:
    """Delete what dead processes left in staging, and versions that they had moved in but not published."""
    staged = catalog / paths.STAGING
    n_cleared = 0
    for path in (*staged.glob(f"{paths.SWAP}*"), *staged.glob(f"{_TRASH}*")):
        shutil.rmtree(path, ignore_errors=True)
        n_cleared += 1
    for folder in sorted({path.with_suffix("") for path in staged.glob(f"{paths.INGEST}*")}):
        lock = FileLock(f"{folder}{LOCK_SUFFIX}", timeout=0)
        with suppress(OSError), lock:  # a Timeout, where it is held; or another user's
            moved_in = (catalog / paths.MODELS_FOLDER).glob(f"*/{version_name(folder)}")
            torn = [path for path in moved_in if path.relative_to(catalog).as_posix() not in wanted]
            n_cleared += sum(discard(catalog, path) for path in (*torn, folder))
            Path(lock.lock_file).unlink(missing_ok=True)
    return n_cleared


def discard(catalog: Path, folder: Path) -> int:
    """Delete a folder so that it is there whole or not at all; return 1 where there was one."""
    trash = catalog / paths.STAGING / f"{_TRASH}{uuid.uuid4().hex}"
    try:
        folder.rename(trash)
    except OSError:  # it isn't there, or can't be deleted; the publish has succeeded all the same
        return 0
    shutil.rmtree(trash, ignore_errors=True)
    return 1


def drop_empty(catalog: Path) -> None:
    """Delete the folders of models that have no version, and the folder of models where it has none."""
    for folder in (*(catalog / paths.MODELS_FOLDER).glob("*"), catalog / paths.MODELS_FOLDER):
        with suppress(OSError):  # it isn't empty
            folder.rmdir()


def _is_held(generation: Path) -> bool:
    """Return whether somebody has this generation's database open, or a copy of it (`catalog.state.pinned`).

    DuckDB holds a POSIX lock on a database that it opened. Such locks belong to a process: a database that this very
    process has open isn't seen, and loses its lock.
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
