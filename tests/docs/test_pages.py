"""The pages tell the truth: questions give their answers, commands have these options, links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from tests.support.helpers import MINILM, rows
from tests.support.pages import (
    DOCS,
    MORE_QUESTIONS,
    PAGES,
    QUESTIONS,
    README,
    ROOT,
    SERIES,
    STUDY,
    blocks,
    more_questions_catalog,
    questions,
    shell_answer,
    shell_lines,
)
from tests.support.write_pages import COMMANDS, commands_page
from token_catalog.cli import app
from token_catalog.ingest.recipe.recipe import LinkageDistances
from token_catalog.ingest.recipe.shipping import load_additions, load_recipe
from token_catalog.queries.verify import verify

RECIPES = DOCS / "recipes.md"
# STUDY and SERIES are asked of other catalogs: in tests/study/test_study_questions.py and tests/series/test_story.py.
OF_THE_DEMO = [page for page in PAGES if page not in (MORE_QUESTIONS, STUDY, SERIES)]


def named(page: Path) -> str:
    """Return a page's place in the project."""
    return page.relative_to(ROOT).as_posix()


def asked(*pages: Path) -> list[object]:
    """Return the questions of pages, each once, by the page that asks it first and its place there."""
    found: dict[tuple[str, str | None], object] = {}
    for page in pages:
        for place, block in enumerate(questions(page), 1):
            found.setdefault((block.code, block.answer), pytest.param(*block[1:3], id=f"{named(page)}-{place}"))
    return list(found.values())


@pytest.fixture(scope="module")
def more_catalog(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the catalog that the page of more questions describes: the notebooks' references, a second model."""
    return more_questions_catalog(minilm, tmp_path_factory.mktemp("more"))


def test_there_are_as_many_questions_as_the_pages_say() -> None:
    assert re.findall(r"^\*\*(\d+)\. ", QUESTIONS.read_text(encoding="utf-8"), re.MULTILINE) == [
        str(number) for number in range(1, 18)
    ]
    assert len(questions(QUESTIONS)) == 18  # two of them in two parts; the last one's answer depends on the machine
    assert len(questions(README)) == 5
    assert len(questions(MORE_QUESTIONS)) == 11


@pytest.mark.parametrize(("sql", "text"), asked(*OF_THE_DEMO))
def test_a_question_gives_its_answer_in_the_shell_from_another_folder(
    minilm: Path, tmp_path: Path, sql: str, text: str
) -> None:
    assert shell_answer(minilm, sql, cwd=tmp_path) == text


@pytest.mark.parametrize(("sql", "text"), asked(MORE_QUESTIONS))
def test_a_further_question_gives_its_answer(more_catalog: Path, sql: str, text: str) -> None:
    assert shell_answer(more_catalog, sql, cwd=ROOT) == text


def test_sql_without_an_answer_runs(minilm: Path) -> None:
    left = [block for page in PAGES for block in blocks(page, "sql") if block.answer is None]
    assert len(left) == 2
    for block in left:
        if not block.code.startswith("attach"):  # run below, where it may write
            rows(minilm, block.code)


def test_ones_own_tables_are_made_as_it_says(minilm: Path, tmp_path: Path) -> None:
    (script,) = (block.code for block in blocks(DOCS / "operations.md", "sql") if block.code.startswith("attach"))
    command = [sys.executable, "-m", "token_catalog", "shell", "--catalog", str(minilm)]
    for _ in ("made", "found again"):
        done = subprocess.run(command, input=script, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert "427" in done.stdout
        script = script.partition("create table")[0] + "select count(*) from mine.main.short;"


def test_the_table_of_figures_passes(minilm: Path, tmp_path: Path) -> None:
    (block,) = blocks(DOCS / "the-study-checked.md", "csv")
    path = tmp_path / "mine.csv"
    path.write_text(block.code, encoding="utf-8")
    assert [line.verdict for line in verify(minilm, MINILM, path)] == 3 * [(True, "")]


@pytest.mark.parametrize("page", [page for page in PAGES if shell_lines(page)], ids=named)
def test_its_commands_have_only_options_that_exist(page: Path) -> None:
    group = typer.main.get_group(app)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for program, *rest in shell_lines(page):
        if program == "token-catalog":
            command = group.commands[rest[0]]
            command.make_parser(typer.Context(command)).parse_args(args=rest[1:])
        elif program == "make":
            assert re.search(rf"^{rest[0]}:", makefile, re.MULTILINE), rest
        elif "-m" in rest:
            module = rest[rest.index("-m") + 1]
            assert Path(ROOT, *module.split(".")).with_suffix(".py").is_file(), module
        else:
            assert program in ("duckdb", "pip"), program


def test_the_page_of_commands_is_what_they_print() -> None:
    assert COMMANDS.read_text(encoding="utf-8") == commands_page(), "`make docs` writes it anew"


def test_recipes_are_ones(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    found = [(page, block.code) for page in PAGES for block in blocks(page, "toml")]
    assert len(found) == 4
    for _, code in found:
        path.write_text(code, encoding="utf-8")
        load = load_recipe if "[sky]" in code else load_additions
        assert load(path).references


def test_the_recipe_says_what_it_seems_to(minilm: Path, tmp_path: Path) -> None:
    recipe, additions = blocks(RECIPES, "toml")
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.code, encoding="utf-8")
    loaded = load_recipe(path)
    assert loaded.sky.axes() == (1, 3, 2)
    assert loaded.linkage == LinkageDistances(0.02, 0.002)
    assert [reference.name for reference in loaded.references] == ["1.4a", "1.5c", "mean", "largest-component"]
    assert [cluster.name for cluster in loaded.clusters] == ["spike", "1.5d, saved"]
    path.write_text(additions.code, encoding="utf-8")
    (reference,) = load_additions(path).references
    assert rows(minilm, f"select count(*) > 0 from members('{reference.value}')") == [(True,)]


LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(#[^)\s]*)?\)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_its_links_lead_somewhere(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), path + anchor


def test_the_front_door_is_short() -> None:
    assert len(README.read_bytes()) <= 8192


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in DOCS.iterdir() if path.suffix in (".md", ".ipynb")} - {"README.md"}
    assert [name for name in sorted(pages) if f"({name})" not in index] == []
