"""Export of a model to files for other tools: all of them whole, or none; existing files are kept unless replaced."""

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from token_catalog.catalog.errors import CatalogError
from token_catalog.catalog.paths import slug
from token_catalog.catalog.state import read_state, require

from .flat_table import to_parquet
from .tensors import STEMS, notebook_tensors, save_tensors

TARGETS = ("tensors", "parquet")
_TENSORS = "tensors"


def export_parquet(catalog: Path, model: str, output: Path | None, *, replace: bool) -> list[Path]:
    """Write a model's flat table to `output`, else to `<MODEL>.parquet` here; return the file's path."""
    model = read_state(require(catalog)).one_named(model)
    path = output or Path("-".join(_parts(model)) + ".parquet")
    _check_free([path], replace=replace)
    return _write_files(path.parent, {path.name: partial(to_parquet, catalog, model)})


def export_tensors(catalog: Path, model: str, output: Path | None, *, replace: bool) -> list[Path]:
    """Write the notebooks' files into the folder `output`, else `tensors/<MODEL>`; return their paths."""
    model = read_state(require(catalog)).one_named(model)
    folder = output or Path(_TENSORS, *_parts(model))
    if folder.exists() and not folder.is_dir():
        raise CatalogError(f"{folder}: is a file, and tensors go into a folder; `output=` names another")
    names = {stem: f"{stem}.safetensors" for stem in STEMS}
    _check_free([folder / name for name in names.values()], replace=replace)
    arrays = notebook_tensors(catalog, model)
    return _write_files(folder, {name: partial(save_tensors, arrays=arrays[stem]) for stem, name in names.items()})


def _parts(model: str) -> list[str]:
    """Return a model's name as names of folders, or its slug where those would lead out of the folder.

    >>> _parts("Qwen3/output"), _parts("../../etc")
    (['Qwen3', 'output'], ['etc-74ccf3c5'])
    """
    parts = model.split("/")
    plain = all(part.strip(". ") and "\0" not in part and not part.startswith("~") for part in parts)
    return parts if plain else [slug(model)]


def _check_free(paths: Iterable[Path], *, replace: bool) -> None:
    """Raise CatalogError where a file is there already and isn't to be replaced, or something that is no file."""
    there = [path for path in paths if os.path.lexists(path)]
    for path in there:
        if not path.is_file():
            raise CatalogError(f"{path}: is no file, so none is written over it; `output=` names another place")
    if there and not replace:
        raise CatalogError(
            f"{', '.join(map(str, there))}: there already; `replace=True` writes over, `output=` names another place"
        )


def _write_files(folder: Path, files: Mapping[str, Callable[[Path], None]]) -> list[Path]:
    """Write files into a folder of their own beside their places, and move them there when all are whole."""
    folder.mkdir(parents=True, exist_ok=True)
    # Absolute, for DuckDB takes a ~ for a home.
    with tempfile.TemporaryDirectory(prefix=".token-catalog-", dir=os.path.abspath(folder)) as staging:
        for name, write in files.items():
            write(Path(staging, name))
        return [Path(staging, name).replace(folder / name) for name in files]
