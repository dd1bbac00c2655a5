"""The documentation's pages: their blocks of code, what each is asked of, and what is printed under them.

An `sql` block with a `text` block after it is a question and the real shell's answer; a `python` block with one, what
it prints. `<!-- not run: … -->` above a block says why a reader alone runs it.
"""

import io
import re
import shlex
import shutil
from collections.abc import Callable
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.command_line import run
from tests.support.helpers import MINILM, REPLICA, minilm_folder, shell_run, study_recipe
from tests.support.replica import Replica
from tests.support.training_run import write_run
from token_catalog.ingest.add_references import add_references
from token_catalog.ingest.recipe.shipping import load_additions, load_recipe
from token_catalog.ingest.run import ingest
from token_catalog.ingest.source.resolve import SourceOptions
from token_catalog.ingest.spectrum import cluster_spectrum

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
CONTRACT = ROOT / "catalog" / "README.md"
QUESTIONS, MORE_QUESTIONS, STUDY = DOCS / "questions.md", DOCS / "more-questions.md", DOCS / "study.md"
SERIES = DOCS / "series.md"
# Their Python is run, in a folder with the demo's catalog.
IN_PYTHON = (README, DOCS / "python.md")
FOLDERS = ("catalog", "docs", "ingest", "queries", "tensors", "tests")
PAGES = (README, *sorted(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md")))

_BLOCK = re.compile(
    r"(?P<skipped><!-- not run: .*? -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$"
    r"(?:\n\n```text\n(?P<answer>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """A block of code on a page, and what is printed under it, if anything is."""

    language: str
    code: str
    answer: str | None
    is_run: bool


def blocks(page: Path, language: str) -> list[Block]:
    """Return a page's blocks of code in a language, in their order."""
    found = (_block(match) for match in _BLOCK.finditer(page.read_text(encoding="utf-8")))
    return [block for block in found if block.language == language]


def _block(match: re.Match[str]) -> Block:
    return Block(match["language"], match["code"], match["answer"], match["skipped"] is None)


def questions(page: Path) -> list[Block]:
    """Return a page's SQL that has its answer under it."""
    return [block for block in blocks(page, "sql") if block.answer is not None]


def shell_answer(catalog: Path, sql: str, cwd: Path) -> str:
    """Return what the DuckDB shell prints, opened as the README says, in the folder `cwd`."""
    done = shell_run(catalog, sql, cwd=cwd)
    told = done.stderr.partition("open.sql\n")[2].strip("\x1b[0m\n")
    return re.sub(r"\s+\n", "\n", done.stdout.strip("\n") + "\n" + told)


def more_questions_catalog(demo: Path, folder: Path) -> Path:
    """Return the catalog that `more-questions.md` describes, made from the demo's by the page's own blocks."""
    catalog, recipe = folder / "token-catalog", folder / "notebooks.toml"
    shutil.copytree(demo, catalog, symlinks=True)
    (block,) = blocks(MORE_QUESTIONS, "toml")
    recipe.write_text(block.code, encoding="utf-8")
    add_references(catalog, MINILM, load_additions(recipe), "auto")
    (block,) = blocks(MORE_QUESTIONS, "python")
    with chdir(folder):
        exec(block.code.replace("FOLDER", str(minilm_folder())), {})  # noqa: S102
    options = SourceOptions(name=f"{MINILM}-bf16", tokenizer=str(minilm_folder()))
    ingest(catalog, str(folder / "W.safetensors"), options, recipe=load_recipe(MINILM.lower()))
    return catalog


def study_catalog(replica: Replica, folder: Path) -> Path:
    """Return the catalog that `study.md` describes: a small replica's, with the notebooks' recipe, made on the CPU."""
    catalog, recipe = folder / "catalog", study_recipe()
    options = SourceOptions(name=REPLICA, tokenizer=str(replica.tokenizer))
    ingest(catalog, str(replica.weights), options, recipe=recipe, device="cpu")
    cluster_spectrum(catalog, REPLICA, "largest-component", "vectors", "cpu")
    return catalog


def series_catalog(folder: Path) -> Path:
    """Return the catalog that `series.md` describes, made by the page's own commands; the run itself is beside it."""
    write_run(folder / "runs")
    with chdir(folder):
        for program, *arguments in shell_lines(SERIES):
            if program == "token-catalog" and arguments[0] == "ingest":
                done = run(*arguments)
                assert done.returncode == 0, done.stderr
    return folder / "token-catalog"


def shell_lines(page: Path) -> list[list[str]]:
    """Return the words of each command in a page's blocks of shell."""
    code = "\n".join(block.code for block in blocks(page, "sh")).replace("\\\n", " ")
    return [words for line in code.splitlines() if (words := shlex.split(line, comments=True))]


def answered(text: str, answer: Callable[[Block], str]) -> str:
    """Return a page's text with other answers under its blocks; `answer` is called for each, in their order."""

    def replaced(match: re.Match[str]) -> str:
        block = _block(match)
        given = answer(block)
        if block.answer is None:
            return match[0]
        return f"```{block.language}\n{block.code}```\n\n```text\n{given}```"

    return _BLOCK.sub(replaced, text)


class Interpreter:
    """Runs a page's Python, block after block, in a folder that has a copy of a catalog (the demo's, most often)."""

    def __init__(self, catalog: Path, folder: Path, *beside: Path) -> None:
        """Make the copy, and links to what else the page has beside it; begin with no names defined."""
        shutil.copytree(catalog, folder / "token-catalog", symlinks=True)
        for path in beside:
            (folder / path.name).symlink_to(path)
        self._folder = folder
        self._names: dict[str, Any] = {}

    def run(self, code: str) -> str:
        """Run a block; return what it prints."""
        printed = io.StringIO()
        with chdir(self._folder), redirect_stdout(printed):
            exec(code, self._names)  # noqa: S102
        return re.sub(r"[ \t]+\n", "\n", printed.getvalue())
