"""`make docs`: writes what the pages have from the product itself: every command's help, and every answer.

`python -m tests.support.write_pages commands` writes `docs/commands.md` alone, at once, and `study` the answers of
`docs/study.md` alone, of a small replica, `series` those of `docs/series.md`, of a small run; without an argument, the
demo's model is ingested in a temporary folder, too, every question of the other pages is asked of it, and the notebook
is run.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path

import typer.main

from tests.support import first_look, pages
from tests.support.replica import write_replica
from token_catalog.cli import app
from token_catalog.ingest.demo import ingest_demo

COMMANDS = pages.DOCS / "commands.md"
_WIDTH = 100
# Nothing in the list of commands is cut short.
_LIST_WIDTH = 130
_HEAD = """\
# Commands

What `-h` prints, written by `make docs`. `token-catalog` and `python -m token_catalog` are the same.
"""


def commands_page() -> str:
    """Return the page of every command's help, at a width that no terminal changes."""
    group = typer.main.get_group(app)
    context = group.make_context("token-catalog", [], resilient_parsing=True, terminal_width=_LIST_WIDTH)
    parts = [_HEAD, _fenced(group.get_help(context))]
    for name, command in group.commands.items():
        inner = command.make_context(name, [], parent=context, resilient_parsing=True, terminal_width=_WIDTH)
        parts += [f"## {name}\n", _fenced(command.get_help(inner))]
    return "\n".join(parts)


def _fenced(text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    return f"```text\n{lines}\n```\n"


def write_answers(demo: Path, folder: Path) -> None:
    """Put the answers of the demo's catalog, and of the one that `more-questions.md` describes, into the pages."""
    more = pages.more_questions_catalog(demo, folder)
    for number, page in enumerate(page for page in pages.PAGES if page not in (pages.STUDY, pages.SERIES)):
        asked = more if page == pages.MORE_QUESTIONS else demo
        interpreter = pages.Interpreter(demo, folder / str(number)) if page in pages.IN_PYTHON else None
        _write(page, asked, interpreter)


def write_study(folder: Path) -> None:
    """Put the answers of a small replica into `study.md`."""
    _write(pages.STUDY, pages.study_catalog(write_replica(folder), folder))


def write_series(folder: Path) -> None:
    """Put the answers of a small run of training into `series.md`."""
    catalog = pages.series_catalog(folder)
    _write(pages.SERIES, catalog, pages.Interpreter(catalog, folder / "python", folder / "runs"))


def _write(page: Path, catalog: Path, interpreter: pages.Interpreter | None = None) -> None:
    text = page.read_text(encoding="utf-8")
    written = pages.answered(text, partial(_answer, catalog, interpreter))
    if written != text:
        page.write_text(written, encoding="utf-8")
        print(f"wrote {page.relative_to(pages.ROOT)}")


def _answer(catalog: Path, interpreter: pages.Interpreter | None, block: pages.Block) -> str:
    if interpreter and block.language == "python" and block.is_run:
        return interpreter.run(block.code)
    if block.language == "sql" and block.answer is not None:
        return pages.shell_answer(catalog, block.code, pages.ROOT)
    return block.answer or ""


def main() -> None:
    """Write the page of commands and, unless that is all that is asked for, the answers and the notebook's outputs."""
    which = sys.argv[1:]
    if not which or which == ["commands"]:
        COMMANDS.write_text(commands_page(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        if not which or which == ["study"]:
            write_study(Path(folder, "study"))
        if not which or which == ["series"]:
            write_series(Path(folder, "series"))
        if not which:
            demo = Path(folder, "demo")
            ingest_demo(demo, "auto")
            write_answers(demo, Path(folder))
            first_look.write(demo, Path(folder, "first-look"))


if __name__ == "__main__":
    main()
