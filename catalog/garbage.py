"""Clearing: what nobody reads any more goes, and what a dead process left; what isn't ours stays.

Called under the catalog's lock. Deleting is a rename into staging first: a folder is there whole or not at all.
"""

import fcntl
import shutil
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from token_catalog.catalog import paths
from token_catalog.catalog.state import State, current_generation, is_being_published, state_of

# What else is in staging, written under the catalog's lock.
SWAP = "swap-"
_TRASH = "trash-"
LOCK_SUFFIX = ".lock"


def version_name(staged: Path) -> str:
    """Return what an ingest's versions are called: as its staging, so that what a dead one moved in is known."""
    return staged.name.removeprefix(paths.INGEST)


def generations(catalog: Path) -> list[Path]:
    """Return the folders of all generations."""
    return [path for path in (catalog / paths.GENERATIONS).glob("*") if path.name.isdigit()]


def versions_on_disk(catalog: Path, state: State) -> set[str]:
    """Return every version folder of these models, but for those that were only moved in."""
    folders = (catalog / paths.MODELS / paths.slug(model) for model in state.models)
    versions = (version for folder in folders for version in folder.glob("*"))
    return {path.relative_to(catalog).as_posix() for path in versions if not is_being_published(catalog, path)}


def clear(catalog: Path, wanted: set[str], previous: Path | None = None, also: Iterable[str] = ()) -> int:
    """Delete what dead processes left, generations nobody reads, and the versions that those name, and `also` these.

    But for the `wanted` versions, and those of a generation that is open. What no generation ever named was copied in
    by hand, and is for a rebuild to adopt. The `previous` generation stays, for who is just opening it: the versions
    that it shows must be wanted.
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
    # Versions before the generations that name them: whoever dies in between, the next publish still knows of them.
    n_cleared = _clear_staging(catalog, wanted)
    n_cleared += sum(discard(catalog, catalog / folder) for folder in sorted(named - wanted))
    n_cleared += sum(discard(catalog, generation) for generation in superfluous)
    drop_empty(catalog)
    return n_cleared


def _clear_staging(catalog: Path, wanted: set[str]) -> int:
    """Delete what dead processes left in staging, and the versions they had moved in but not published."""
    staged = catalog / paths.STAGING
    n_cleared = 0
    for path in (*staged.glob(f"{SWAP}*"), *staged.glob(f"{_TRASH}*")):
        shutil.rmtree(path, ignore_errors=True)
        n_cleared += 1
    for folder in sorted({path.with_suffix("") for path in staged.glob(f"{paths.INGEST}*")}):
        lock = FileLock(f"{folder}{LOCK_SUFFIX}", timeout=0)
        with suppress(OSError), lock:  # a Timeout, where it is held; or another user's
            moved_in = (catalog / paths.MODELS).glob(f"*/{version_name(folder)}")
            torn = [path for path in moved_in if path.relative_to(catalog).as_posix() not in wanted]
            n_cleared += sum(discard(catalog, path) for path in (*torn, folder))
            Path(lock.lock_file).unlink(missing_ok=True)
    return n_cleared


def discard(catalog: Path, folder: Path) -> int:
    """Delete a folder so that it is there whole or not at all; return 1 where there was one."""
    trash = catalog / paths.STAGING / f"{_TRASH}{uuid.uuid4().hex}"
    try:
        folder.rename(trash)
    except OSError:  # it isn't there, or can't be deleted: no reason to fail, now that the rest is published
        return 0
    shutil.rmtree(trash, ignore_errors=True)
    return 1


def drop_empty(catalog: Path) -> None:
    """Delete the folders of models that have no version, and the folder of models where it has none."""
    for folder in (*(catalog / paths.MODELS).glob("*"), catalog / paths.MODELS):
        with suppress(OSError):  # it isn't empty
            folder.rmdir()


def _is_held(generation: Path) -> bool:
    """Whether a shell has this generation open, or a copy of its database (`catalog.state.pinned`).

    DuckDB holds a POSIX lock on what it opened. Those locks are a process's own: what this very process has open isn't
    seen, and loses its lock.
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
