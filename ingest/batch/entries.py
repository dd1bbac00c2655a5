"""What a batch is asked for: an entry for each matrix, or pair of matrices, made of a command's sources or of a list.

Nothing of the weights is read here but, with `steps=True`, the header of a file with a tensor of three dimensions.
"""

import glob
import os
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from token_catalog.catalog.errors import CatalogError

from ..recipe.shipping import shipped_recipes
from ..source.resolve import BARE_TENSOR, MATRICES, SourceOptions, bare_name, default_name, is_hub_id, local_path
from ..source.stack import stack_steps
from .lists import read_list
from .steps import common_folder, sources_with_steps, step_pattern

# A file, the name of a recipe that ships, or a table of the same shape.
RecipeLike = str | Path | Mapping[str, Any]
# Of a source, where nobody says how to read it.
AS_IT_IS = SourceOptions()
# Of a role: it is a part of the model's key, and may be of a file's name.
_ROLE = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class Entry:
    """One source of a batch, and how it is read; `where` is the place it was asked for, for messages.

    In a series it has a `step`, and a `role` where it isn't the weights themselves; `options.name` is then its key.
    """

    source: str
    options: SourceOptions = AS_IT_IS
    recipe: RecipeLike | None = None
    series: str | None = None
    step: int | None = None
    role: str | None = None
    where: str = ""


@dataclass(frozen=True)
class Asked:
    """What goes for all of a batch's entries that don't say otherwise."""

    options: SourceOptions = AS_IT_IS
    recipe: RecipeLike | None = None
    series: str | None = None
    step_from: str | None = None
    role: str | None = None
    steps: bool = False


def entries_of_sources(
    sources: Iterable[str | Path],
    options: SourceOptions = AS_IT_IS,
    recipe: RecipeLike | None = None,
    *,
    series: str | None = None,
    step_from: str | None = None,
    role: str | None = None,
    steps: bool = False,
) -> list[Entry]:
    r"""Return the entries of some sources, checked; with `step_from`, in the order of their steps.

    A source may be a pattern of files (`runs/*.safetensors`). `step_from` is a regular expression whose one group is
    the step in a source's name (`step_(\d+)`); a folder without one gives what it holds that has. `steps` takes each
    step of a tensor (steps, tokens, dimensions) as a matrix. `series` is what the steps are of: by default, the folder
    that they are in, or the file. CatalogError names the source that can't be so.
    """
    asked = Asked(options, recipe, series, step_from, role, steps)
    named = [source for given in sources for source in _globbed(str(given))]
    if not named:
        raise CatalogError("no source is given")
    entries = _with_steps([Entry(source, options, recipe, series, None, role, source) for source in named], asked)
    if step_from is not None:
        entries.sort(key=lambda entry: entry.step or 0)
    return check_entries(entries)


def entries_of_list(
    path: str | Path,
    options: SourceOptions = AS_IT_IS,
    recipe: RecipeLike | None = None,
    *,
    series: str | None = None,
    step_from: str | None = None,
    role: str | None = None,
    steps: bool = False,
) -> list[Entry]:
    """Return the entries of a list, checked, in its order; what else is given goes for those that don't say it.

    Sources, recipes and tokenizers are found from the list's folder. CatalogError names the line that is wrong.
    """
    asked = Asked(options, recipe, series, step_from, role, steps)
    list_ = local_path(str(path))
    entries = [_of_row(list_.parent, where, row, asked) for where, row in read_list(list_)]
    return check_entries(_with_steps(entries, asked))


def check_entries(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries; CatalogError names both places where two are one, or the one whose series is half said."""
    for entry in entries:
        _check_series(entry)
    _check_unique(entries, _identity, lambda entry: "source")
    _check_unique(entries, _place, lambda entry: f"step {entry.step} of the series '{entry.series}'{_as_role(entry)}")
    _check_unique(entries, lambda entry: entry.options.name, lambda entry: f"name '{entry.options.name}'")
    _check_unique(
        entries, _called, lambda entry: f"name '{_called(entry)[0]}'", "; a list gives them others, by `name`"
    )
    return list(entries)


def _check_series(entry: Entry) -> None:
    """Raise CatalogError where an entry's name, series, step or role can't be, or one needs another."""
    for key, value in {"series": entry.series, "role": entry.role, "name": entry.options.name}.items():
        if value is not None and (not value.strip() or not value.isprintable()):
            raise CatalogError(f"{entry.where}: {key} {value!r} is empty, or no plain text; give another")
    if entry.role is not None and (not _ROLE.fullmatch(entry.role) or entry.role in MATRICES):
        raise CatalogError(
            f"{entry.where}: role '{entry.role}': a role is of letters, digits, '_', '.' and '-', and none of "
            f"{', '.join(MATRICES)}"
        )
    if entry.role is not None and (entry.series is None or entry.step is None):
        raise CatalogError(f"{entry.where}: has the role '{entry.role}', and so needs a series and a step")
    if entry.step is not None and entry.series is None:
        raise CatalogError(f"{entry.where}: has step {entry.step}, and no series; `series=` names it")
    if entry.series is not None and entry.step is None:
        raise CatalogError(
            f"{entry.where}: is of the series '{entry.series}', and has no step; `step_from=` finds it in names, "
            "`steps=True` in the file, or a list says it"
        )


def _check_unique(
    entries: Sequence[Entry], key: Callable[[Entry], Hashable], told: Callable[[Entry], str], way_out: str = ""
) -> None:
    """Raise CatalogError where two entries have one key; None is no key."""
    seen: dict[Hashable, Entry] = {}
    for entry in entries:
        known = key(entry)
        if known is None:
            continue
        if known in seen:
            raise CatalogError(f"{entry.where}: the same {told(entry)} as {seen[known].where}{way_out}")
        seen[known] = entry


def _identity(entry: Entry) -> Hashable:
    """Return what two entries share that are the same matrix of the same source."""
    path, options = local_path(entry.source), entry.options
    source = os.path.realpath(path) if path.exists() else entry.source
    return source, options.revision, options.tensor, options.stack_index, options.matrix, entry.role


def _place(entry: Entry) -> Hashable:
    return None if entry.series is None else (entry.series, entry.step, entry.role, entry.options.matrix)


def _called(entry: Entry) -> tuple[str, str | None]:
    """Return an entry's name, given or not, and which matrix of that name it is, where it is one of two."""
    matrix = entry.options.matrix
    return entry.options.name or default_name(entry.source), None if matrix == "both" else matrix


def _as_role(entry: Entry) -> str:
    return f", as {entry.role}" if entry.role else ""


def _globbed(source: str) -> list[str]:
    """Return the sources that a pattern means which no shell has expanded; else the source alone."""
    path = local_path(source)
    if not glob.has_magic(source) or path.exists():
        return [source]
    found = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
    if not found:
        raise CatalogError(f"{source}: no such file or folder, nor one that the pattern is of")
    return found


def _of_row(folder: Path, where: str, row: Mapping[str, Any], asked: Asked) -> Entry:
    """Return what one row of a list asks for."""
    beside = {key: _beside(folder, row[key]) for key in ("source", "tokenizer") if key in row}
    keys = ("name", "matrix", "tensor", "revision", "stored_as", "stack_index")
    said = {key: row[key] for key in keys if key in row} | {k: v for k, v in beside.items() if k == "tokenizer"}
    return Entry(
        beside["source"],
        replace(asked.options, **said),
        _recipe_beside(folder, row["recipe"], where) if "recipe" in row else asked.recipe,
        row.get("series", asked.series),
        row.get("step"),
        row.get("role", asked.role),
        where,
    )


def _beside(folder: Path, named: str) -> str:
    """Return a path found from a list's folder; what isn't there, and may be a Hugging Face id, is one."""
    path = folder / local_path(named)
    return named if is_hub_id(named) and not path.exists() else str(path)


def _recipe_beside(folder: Path, recipe: RecipeLike, where: str) -> RecipeLike:
    """Return a recipe: a table, a file found from a list's folder, or the name of one that ships."""
    if isinstance(recipe, Mapping):
        return recipe
    path = folder / local_path(str(recipe))
    if path.is_file() or str(recipe) not in shipped_recipes():
        if not path.is_file():
            ships = ", ".join(shipped_recipes())
            raise CatalogError(f"{where}: {path}: no such recipe; those that ship by name: {ships}")
        return path
    return recipe


def _with_steps(entries: list[Entry], asked: Asked) -> list[Entry]:
    """Return entries with their steps, series and names: one for each step that a source has."""
    if asked.steps and asked.step_from is not None:
        raise CatalogError("`steps=True` finds the steps in a file, `step_from=` in names: give one of them")
    if asked.steps:
        entries = [one for entry in entries for one in _of_stack(entry)]
    elif asked.step_from is not None:
        entries = _of_names(entries, step_pattern(asked.step_from))
    name = asked.options.name
    if name is not None and sum(entry.options.name == name for entry in entries) > 1:
        raise CatalogError(f"`name={name}` is one model's, and here are {len(entries)}; leave it out, or list them")
    return [_named(entry) for entry in entries]


def _of_stack(entry: Entry) -> list[Entry]:
    """Return an entry for each step of a file's tensor of three dimensions; the entry itself where it says its step."""
    if entry.step is not None or entry.options.stack_index is not None:
        return [entry]
    path = local_path(entry.source)
    if not path.is_file():
        raise CatalogError(f"{entry.where}: `steps=True` is for a file with a tensor (steps, tokens, dimensions)")
    path = path.resolve()
    steps = stack_steps(path, entry.options.tensor or BARE_TENSOR, entry.options.stored_as)
    return [
        replace(
            entry,
            options=replace(entry.options, stack_index=index),
            series=bare_name(path) if entry.series is None else entry.series,
            step=step,
            where=f"{entry.where}[{index}]",
        )
        for index, step in enumerate(steps)
    ]


def _of_names(entries: list[Entry], pattern: re.Pattern[str]) -> list[Entry]:
    """Return entries whose steps are in their names; what says its step, stays. Their folder names their series."""
    found: list[tuple[Entry, Path | None]] = []
    for entry in entries:
        if entry.step is not None:
            found.append((entry, None))
            continue
        for source, step, folder in sources_with_steps(entry.source, pattern):
            where = entry.where if source == entry.source else source
            found.append((replace(entry, source=source, step=step, where=where), folder))
    without = [folder for entry, folder in found if entry.series is None]
    default = common_folder(without) or None
    return [entry if entry.series else replace(entry, series=default) for entry, _ in found]


def _named(entry: Entry) -> Entry:
    """Return a series' entry with its key for a name: SERIES@STEP, or SERIES@STEP/ROLE; a name of its own wins."""
    if entry.options.name is not None or entry.series is None or entry.step is None:
        return entry
    name = f"{entry.series}@{entry.step}" + (f"/{entry.role}" if entry.role is not None else "")
    return replace(entry, options=replace(entry.options, name=name))
