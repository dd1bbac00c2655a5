"""Steps in the names of files and folders: what a pattern finds there, and what a folder of a run holds."""

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePath

from token_catalog.catalog.errors import CatalogError

from ..source.hdf5 import HDF5_SUFFIXES
from ..source.local import pickled
from ..source.model_files import is_pickled
from ..source.resolve import SAFETENSORS, local_path
from .lists import as_whole_number


def step_pattern(step_from: str) -> re.Pattern[str]:
    """Return a regular expression that has the step as its one group; CatalogError where it is none."""
    told = f"`step_from={step_from}`"
    try:
        pattern = re.compile(step_from)
    except (re.error, RecursionError, OverflowError) as error:
        raise CatalogError(f"{told}: is no regular expression ({error})") from None
    if pattern.groups != 1:
        raise CatalogError(f"{told}: has {pattern.groups} groups; the step is in the one that it needs: 'step_(\\d+)'")
    return pattern


def sources_with_steps(source: str, pattern: re.Pattern[str]) -> list[tuple[str, int, Path | None]]:
    r"""Return a source, or what is in a folder of a run, each with its step and the folder that the step's name is in.

    The pattern is looked for in the source's last part; then, of a folder, in the names of what it holds; then in the
    whole source. The folder is None of what isn't on the disk. CatalogError where there is no step.

    >>> sources_with_steps("runs/step_20/W.safetensors", re.compile(r"step_(\d+)"))[0][:2]
    ('runs/step_20/W.safetensors', 20)
    """
    path = local_path(source)
    last = path.name or source
    match = pattern.search(last)
    if match and match[1] is not None:
        return [(source, _step(match, source, pattern), _above(path, 1))]
    inside = _inside(path, pattern) if path.is_dir() else []
    if inside:
        return sorted(inside, key=lambda found: found[1])
    match = pattern.search(source)
    if match and match[1] is not None:
        return [(source, _step(match, source, pattern), _above(path, len(PurePath(source[match.start(1) :]).parts)))]
    held = ", nor in what it holds" if path.is_dir() else ""
    raise CatalogError(f"{source}: `step_from={pattern.pattern}` finds no step in its name{held}")


def common_folder(folders: Iterable[Path | None]) -> str:
    """Return the name of the folder that all of these are in, or are; empty where there is none.

    >>> common_folder([Path("/runs/a"), Path("/runs/a/b")]), common_folder([Path("/a"), None])
    ('a', '')
    """
    there = list(folders)
    known = [str(folder) for folder in there if folder is not None]
    return PurePath(os.path.commonpath(known)).name if known and len(known) == len(there) else ""


def _inside(folder: Path, pattern: re.Pattern[str]) -> list[tuple[str, int, Path | None]]:
    """Return what a folder holds that has a step in its name and can be a source."""
    try:
        named = [(path, pattern.search(path.name)) for path in sorted(folder.iterdir()) if path.name[0] != "."]
    except OSError as error:
        raise CatalogError(f"{folder}: can't be read ({error})") from None
    stepped = [(path, match) for path, match in named if match and match[1] is not None]
    sources = [(p, match) for p, match in stepped if p.is_dir() or p.suffix in (SAFETENSORS, *HDF5_SUFFIXES)]
    closed = [path for path, _ in stepped if is_pickled(path.name)]
    if closed and not sources:
        raise pickled(closed[0])
    return [(str(path), _step(match, str(path), pattern), folder.absolute()) for path, match in sources]


def _step(match: re.Match[str], source: str, pattern: re.Pattern[str]) -> int:
    return as_whole_number(match[1], f"{source}: `step_from={pattern.pattern}`", "finds")


def _above(path: Path, n_parts: int) -> Path | None:
    """Return the folder so many parts above, of what is on the disk."""
    if not path.exists():
        return None
    path = path.absolute()
    return path.parents[min(n_parts, len(path.parents)) - 1] if path.parents else path
