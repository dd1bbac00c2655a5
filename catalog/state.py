"""The state of a catalog: the version of each model that its database shows. Reads it; changes nothing."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import paths
from .errors import CatalogError


@dataclass(frozen=True)
class Version:
    """One immutable state of a model: its name and its folder, relative to the catalog."""

    name: str
    folder: str

    def __post_init__(self) -> None:
        """Refuse a folder that is no version's: catalogs are copied around, and the folders they name get deleted."""
        parts = self.folder.split("/")
        out_of_place = len(parts) != 3 or parts[0] != paths.MODELS_FOLDER or not {"", ".", ".."}.isdisjoint(parts)
        if out_of_place or not self.folder.isprintable():
            raise ValueError(f"{self.folder}: no version's folder")


@dataclass(frozen=True)
class State:
    """The current version of each model that a generation shows, and the versions that they replaced.

    Several models may share a folder. `definitions` names the views and macros of the generation's database; `contents`
    is what their maker found in the folders, as JSON has it, for the next one not to look again.
    """

    models: dict[str, Version] = field(default_factory=dict)
    before: dict[str, Version] = field(default_factory=dict)
    definitions: str = ""
    contents: dict[str, Any] = field(default_factory=dict)

    def folders(self) -> set[str]:
        """Return every version folder that must stay on the disk, relative to the catalog."""
        return {version.folder for version in (*self.models.values(), *self.before.values())}

    def named(self, name: str) -> list[str]:
        """Return the keys of the models of this key or name; CatalogError where there is none."""
        keys = keys_named(self.models, name)
        if not keys:
            there = ", ".join(sorted(self.models)) or "nothing yet"
            raise CatalogError(f"'{name}': no such model; the catalog has: {there}")
        return keys

    def one_named(self, name: str) -> str:
        """Return the key of the one model of this key or name; CatalogError where there is none, or several."""
        model, *others = self.named(name)
        if others:
            raise CatalogError(f"'{name}': has {len(others) + 1} matrices; name one: {', '.join((model, *others))}")
        return model

    def dumps(self) -> str:
        """Return the state as JSON."""
        versions = {
            key: {model: [version.name, version.folder] for model, version in getattr(self, key).items()}
            for key in ("models", "before")
        }
        return json.dumps({**versions, "definitions": self.definitions, "contents": self.contents})

    @staticmethod
    def loads(text: str) -> "State":
        """Read a state from JSON; ValueError, KeyError or TypeError where it is none."""
        state = json.loads(text)
        models, before = (
            {model: Version(**v) if isinstance(v, dict) else Version(*v) for model, v in state[key].items()}
            for key in ("models", "before")
        )
        # Of any other type, they are of no use: definitions are then made, and folders looked at, anew.
        definitions, contents = state.get("definitions"), state.get("contents")
        return State(
            models,
            before,
            definitions if isinstance(definitions, str) else "",
            contents if isinstance(contents, dict) else {},
        )


def require(catalog: Path) -> Path:
    """Return the absolute path of an existing catalog; CatalogError where there is none."""
    catalog = Path(os.path.abspath(catalog))
    if not (catalog / paths.DATABASE).exists():
        lacking = "nothing is there"
        if catalog.is_file():
            lacking = "is a file"
        elif (catalog / paths.MODELS_FOLDER).is_dir():
            raise CatalogError(f"{catalog}: has no {paths.DATABASE}; `rebuild(catalog=DIR)` makes it anew")
        elif catalog.is_dir():
            lacking = f"has no {paths.DATABASE}"
        raise CatalogError(f"{catalog}: no catalog ({lacking}); `ingest(SOURCE)` makes one, `catalog=` names another")
    return catalog


def read_state(catalog: Path) -> State:
    """Return the state of the current generation; where none can be read, the newest whole version of each model."""
    generation = current_generation(catalog)
    shown = state_of(generation) if generation else None
    return shown or State(newest_on_disk(catalog))


def table_files(catalog: Path, table_name: str, name: str | None = None) -> list[Path]:
    """Return the current Parquet files of a table, in the order of the models: of this key or name, or of all.

    A model without that table has none; small models of a batch have one together, which tells them by its column
    `model`. CatalogError where there is no such catalog, table or model.
    """
    from .schemas import TABLES  # pyarrow, which takes a while: not for what only reads a state

    catalog = require(catalog)
    files = {table.name: table.file_name for table in TABLES}
    if table_name not in files:
        raise CatalogError(f"'{table_name}': no such table; the tables are: {', '.join(files)}")
    state = read_state(catalog)
    models = sorted(state.models if name is None else state.named(name))
    folders = dict.fromkeys(state.models[model].folder for model in models)
    candidates = [catalog / folder / files[table_name] for folder in folders]
    return [path for path in candidates if path.exists()]


def state_of(generation: Path) -> State | None:
    """Return the state of a generation; None where it can't be read."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        return State.loads((generation / paths.STATE).read_text(encoding="utf-8"))
    return None


def current_generation(catalog: Path) -> Path | None:
    """Return the folder of the generation that `catalog.duckdb` points to; None where it is no symlink."""
    with suppress(OSError):
        return catalog / (catalog / paths.DATABASE).readlink().parent
    return None


@contextmanager
def pinned(catalog: Path) -> Iterator[Path]:
    """Yield the path of the current database, and keep the files that it reads on the disk until the block ends.

    A shared lock on the generation's state tells publishers that somebody reads it; nobody waits for it.
    """
    generation = current_generation(catalog) or catalog
    with ExitStack() as stack:
        with suppress(OSError):  # another user's catalog, say, or one without generations: then it is read unheld
            state = stack.enter_context((generation / paths.STATE).open("rb"))
            fcntl.flock(state, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield generation / paths.DATABASE


def keys_named(versions: Mapping[str, Version], name: str) -> list[str]:
    """Return the keys of the models of this key or name."""
    return [model for model, version in versions.items() if name in (model, version.name)]


def newest_on_disk(catalog: Path) -> dict[str, Version]:
    """Return the newest whole version of each model under `models/`, none that was moved in only."""
    newest: dict[str, Version] = {}
    # In the order of their names, which tell when they were written.
    manifests = sorted((catalog / paths.MODELS_FOLDER).glob(f"*/*/{paths.MANIFEST}"), key=lambda p: (p.parent.name, p))
    for path in manifests:
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            names = names_in(json.loads(path.read_text(encoding="utf-8")))
            folder = path.parent.relative_to(catalog).as_posix()
            if is_whole(path.parent) and not is_being_published(catalog, path.parent):
                newest |= {model: Version(name, folder) for model, name in names.items()}
    return alone_in_their_folders(catalog, newest)


def alone_in_their_folders(catalog: Path, versions: Mapping[str, Version]) -> dict[str, Version]:
    """Return versions but for those whose folder has another model, too, which is not shown from there.

    Views see whole files: that model's rows would be there twice, or be those of a model that was removed.
    """
    shown: dict[str, set[str]] = {}
    for model, version in versions.items():
        shown.setdefault(version.folder, set()).add(model)
    kept = {folder for folder, models in shown.items() if models_in(catalog / folder) <= models}
    return {model: version for model, version in versions.items() if version.folder in kept}


def models_in(folder: Path) -> set[str]:
    """Return the models of a version folder, as its manifest has them; none where that can't be read."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        return set(names_in(json.loads((folder / paths.MANIFEST).read_text(encoding="utf-8"))))
    return set()


def names_in(manifest: dict[str, Any]) -> dict[str, str]:
    """Return the models of a version folder, with their names; KeyError or TypeError where its manifest has none.

    >>> names_in({"model": "m", "name": "m"}), names_in({"models": {"a": "a", "b": "b"}})
    ({'m': 'm'}, {'a': 'a', 'b': 'b'})
    """
    if "models" in manifest:
        return dict(manifest["models"])
    return {manifest["model"]: manifest["name"]}


def is_being_published(catalog: Path, folder: Path) -> bool:
    """Return whether a version's staging folder is there still: then it isn't published, unless a generation names it.

    It is being published, or the process that moved it in died: staging is deleted after the publish, or its undoing.
    """
    return (catalog / paths.STAGING / f"{paths.INGEST}{folder.name}").exists()


def is_whole(folder: Path) -> bool:
    """Return whether every file that a version's manifest names is there, at its size."""
    try:
        files = json.loads((folder / paths.MANIFEST).read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
