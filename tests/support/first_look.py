"""The documentation's notebook, `docs/first-look.ipynb`: run anew, and what its cells show."""

import shutil
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from tests.support.pages import DOCS

NOTEBOOK = DOCS / "first-look.ipynb"
PICTURE = DOCS / "sky.svg"
_SECONDS = 300


def stored() -> NotebookNode:
    """Return the notebook as it is in the documentation."""
    return nbformat.read(NOTEBOOK, as_version=4)


def run_anew(demo: Path, folder: Path) -> NotebookNode:
    """Return the notebook with the outputs of its cells, run beside a copy of the demo's catalog as `docs/` is."""
    shutil.copytree(demo, folder / "token-catalog", symlinks=True)
    beside = folder / "docs"
    beside.mkdir()
    notebook = stored()
    client = NotebookClient(
        notebook, timeout=_SECONDS, record_timing=False, resources={"metadata": {"path": str(beside)}}
    )
    client.execute()
    notebook.metadata.language_info = {"name": "python"}  # not the version that ran it
    return notebook


def shown(notebook: NotebookNode, type_: str) -> list[str]:
    """Return what the cells show in a form, `text/plain` or `image/svg+xml`, one after the other."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.data[type_] for output in outputs if type_ in output.get("data", {})]


def write(demo: Path, folder: Path) -> None:
    """Put the outputs of the demo's catalog into the notebook, and its picture beside it."""
    notebook = run_anew(demo, folder)
    nbformat.write(notebook, NOTEBOOK)
    (picture,) = shown(notebook, "image/svg+xml")
    PICTURE.write_text(picture + "\n", encoding="utf-8")
