"""What a catalog has of a series: its matrices, and whose sky each is on."""

from pathlib import Path
from typing import Any

from token_catalog.catalog import schemas
from token_catalog.catalog.publish import catalogued
from token_catalog.catalog.state import pinned, read_state
from token_catalog.catalog.tables import table_rows

COLUMNS = ("model", "name", "series", "step", "role", "matrix", "linkage_rule")


def members_of(catalog: Path, series: str, role: str | None) -> list[dict[str, Any]]:
    """Return the rows of `models` of a series' matrices of a role, in the order of their steps.

    Each has `frame_of`, the model whose sky it is on, None where it is on its own; and its `folder`.
    """
    with pinned(catalog):
        rows = catalogued(catalog).select(list(COLUMNS)).to_pylist()
        members = [row for row in rows if row["series"] == series and row["role"] == role]
        state = read_state(catalog)
        frames: dict[str, str] = {}
        for row in members:
            row["folder"] = catalog / state.models[row["model"]].folder
        for folder in {row["folder"] for row in members}:
            if (folder / schemas.SERIES_FRAMES.file_name).exists():
                read = table_rows(folder, schemas.SERIES_FRAMES).select(["model", "frame_of"]).to_pylist()
                frames |= {row["model"]: row["frame_of"] for row in read}
        for row in members:
            row["frame_of"] = frames.get(row["model"])
    return sorted(members, key=lambda row: row["step"])
