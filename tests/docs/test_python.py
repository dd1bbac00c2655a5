"""The pages' Python prints what it says, and the notebook shows what it shows."""

from pathlib import Path

import pytest

from tests.support import first_look
from tests.support.pages import IN_PYTHON, ROOT, Interpreter, blocks


@pytest.mark.parametrize("page", IN_PYTHON, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_pages_python_prints_what_it_says(minilm: Path, tmp_path: Path, page: Path) -> None:
    interpreter = Interpreter(minilm, tmp_path)
    found = [block for block in blocks(page, "python") if block.is_run]
    assert found
    assert [interpreter.run(block.code) for block in found] == [block.answer or "" for block in found]


def test_of_all_python_only_what_needs_the_network_is_not_run() -> None:
    left = [block.code for page in IN_PYTHON for block in blocks(page, "python") if not block.is_run]
    assert left == ['report = cat.ingest("Qwen/Qwen3-4B-Instruct-2507")\n']


def test_the_notebook_shows_what_it_shows(minilm: Path, tmp_path: Path) -> None:
    stored, anew = first_look.stored(), first_look.run_anew(minilm, tmp_path)
    for form in ("text/plain", "text/html", "image/svg+xml"):
        assert first_look.shown(anew, form) == first_look.shown(stored, form)
    assert len(first_look.shown(anew, "text/plain")) >= 15


def test_the_picture_on_the_front_door_is_the_notebooks() -> None:
    assert [first_look.PICTURE.read_text(encoding="utf-8").strip()] == first_look.shown(
        first_look.stored(), "image/svg+xml"
    )
