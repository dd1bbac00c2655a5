"""In which order a batch goes: what a series takes its sky from before its other steps, consecutive steps together."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from token_catalog.catalog.errors import CatalogError

from .entries import Entry
from .members import members_of

# Members of a series that are of one role, and of one matrix where one is asked for; outside series all that there are.
Group = tuple[str | None, str | None, str | None]
# Of consecutive entries, so many go to a worker at once at most; it takes as many as there is time for.
TOGETHER = 25


def grouped(entries: Iterable[Entry]) -> dict[Group, list[Entry]]:
    """Return entries by series, role and matrix, in the order of their steps; outside series, as they are given."""
    groups: dict[Group, list[Entry]] = {}
    for entry in entries:
        matrix = entry.options.matrix if entry.series is not None and entry.options.matrix != "both" else None
        groups.setdefault((entry.series, entry.role, matrix), []).append(entry)
    for (series, _, _), members in groups.items():
        if series is not None:
            members.sort(key=lambda entry: entry.step or 0)
    return groups


def frames_first(
    catalog: Path, group: Group, entries: Sequence[Entry], frame_of: int | None, *, replace: bool
) -> list[Entry]:
    """Return the entries of a series that its sky may be of, the likeliest first; none where it has one already.

    It is the last step's, or that of step `frame_of`. CatalogError where it has another, or there is no such step.
    """
    series, role, matrix = group
    if series is None:
        return []
    names = {entry.options.name for entry in entries}
    members = [row for row in members_of(catalog, series, role) if matrix in (None, row["matrix"])]
    frames = {row["frame_of"] for row in members} - {None}
    replaced = names if replace else set()
    staying = [row for row in members if row["frame_of"] is not None and row["name"] not in replaced]
    asked = [entry for entry in entries if frame_of is None or entry.step == frame_of]
    if staying:
        steps = {row["step"] for row in members if row["model"] in frames}
        if frame_of is not None and steps != {frame_of}:
            raise CatalogError(
                f"`frame_of={frame_of}`: the series '{series}' is on the sky of {', '.join(sorted(frames))}; all of "
                "its steps with `replace=True` give it another"
            )
        return []
    if not asked:
        raise CatalogError(f"`frame_of={frame_of}`: no such step in the series '{series}'")
    return asked[::-1]


def parts(entries: Sequence[Entry], n_workers: int) -> list[list[Entry]]:
    """Return consecutive entries in parts for so many workers: short enough that all of them end at about one time."""
    n = max(1, len(entries) if n_workers == 1 else min(TOGETHER, -(-len(entries) // (2 * n_workers))))
    return [list(entries[start : start + n]) for start in range(0, len(entries), n)]
