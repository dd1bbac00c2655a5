"""The pages tell the truth: their questions give their answers, and their commands exist."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from safetensors.torch import load_file

from tests.support.helpers import MINILM, minilm_folder, rows, save_bare
from tests.support.pages import QUESTIONS, README, ROOT, answer, pairs
from token_catalog.catalog.schemas import TABLES
from token_catalog.cli import app
from token_catalog.ingest.add_references import add_references
from token_catalog.ingest.recipe.recipe import LinkageDistances, load_additions, load_recipe, shipped
from token_catalog.ingest.run import ingest
from token_catalog.ingest.source.resolve import Options
from token_catalog.queries.verify import verify

README_PAIRS = pairs(README.read_text(encoding="utf-8"))
PAGE_PAIRS = pairs(QUESTIONS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page_catalog(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the catalog that the page of questions describes: the notebooks' references, a second model."""
    folder = tmp_path_factory.mktemp("page")
    catalog, recipe = folder / "catalog", folder / "notebooks.toml"
    shutil.copytree(minilm, catalog, symlinks=True)
    (text,) = blocks(QUESTIONS, "toml")
    recipe.write_text(text, encoding="utf-8")
    add_references(catalog, MINILM, load_additions(recipe), "auto")
    W = load_file(minilm_folder() / "model.safetensors")["embeddings.word_embeddings.weight"]
    weights = save_bare(folder / "W.safetensors", W.bfloat16())
    options = Options(name=f"{MINILM}-bf16", tokenizer=str(minilm_folder()))
    ingest(catalog, str(weights), options, recipe=load_recipe(shipped(MINILM.lower())))
    return catalog


def blocks(page: Path, language: str) -> list[str]:
    """Return a page's blocks of code in a language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_seventeen_questions() -> None:
    assert len(set(re.findall(r"^\*\*(\d+)\. ", README.read_text(encoding="utf-8"), re.MULTILINE))) == 17
    assert len(README_PAIRS) == 18  # two of them in two parts; the last one's answer depends on the machine


@pytest.mark.parametrize(("sql", "text"), README_PAIRS, ids=[str(i) for i in range(1, len(README_PAIRS) + 1)])
def test_a_question_gives_its_answer_in_the_shell_from_another_folder(
    minilm: Path, tmp_path: Path, sql: str, text: str
) -> None:
    assert answer(minilm, sql, cwd=tmp_path) == text


@pytest.mark.parametrize(("sql", "text"), PAGE_PAIRS, ids=[str(i) for i in range(1, len(PAGE_PAIRS) + 1)])
def test_a_question_of_the_page_gives_its_answer(page_catalog: Path, sql: str, text: str) -> None:
    assert answer(page_catalog, sql, cwd=ROOT) == text


def test_the_pages_table_of_figures_passes(page_catalog: Path, tmp_path: Path) -> None:
    (table,) = blocks(QUESTIONS, "csv")
    path = tmp_path / "mine.csv"
    path.write_text(table, encoding="utf-8")
    assert [line.verdict for line in verify(page_catalog, MINILM, path)] == 3 * [(True, "")]


@pytest.mark.parametrize("page", [README, QUESTIONS], ids=lambda page: str(page.relative_to(ROOT)))
def test_its_commands_have_only_options_that_exist(page: Path) -> None:
    group = typer.main.get_command(app)
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^ +(token-catalog .*)$", text, re.MULTILINE)
    assert len(lines) >= 3
    for line in lines:
        _, command, *rest = shlex.split(line, comments=True)
        subcommand = group.commands[command]  # type: ignore[attr-defined]
        subcommand.make_parser(typer.Context(subcommand)).parse_args(args=rest)


def test_its_recipes_are_ones(minilm: Path, tmp_path: Path) -> None:
    recipe, additions = blocks(README, "toml")
    path = tmp_path / "recipe.toml"
    path.write_text(recipe, encoding="utf-8")
    loaded = load_recipe(path)
    assert loaded.sky.axes() == (1, 3, 2)
    assert loaded.linkage == LinkageDistances(0.02, 0.002)
    assert [reference.name for reference in loaded.references] == ["1.4a", "1.5c", "mean", "largest-component"]
    assert [cluster.name for cluster in loaded.clusters] == ["spike"]
    path.write_text(additions, encoding="utf-8")
    (reference,) = load_additions(path).references
    assert rows(minilm, f"select count(*) > 0 from members('{reference.value}')") == [(True,)]


def test_ones_own_tables_are_made_as_it_says(minilm: Path, tmp_path: Path) -> None:
    (script,) = (block for block in blocks(README, "sql") if block.startswith("attach"))
    command = [sys.executable, "-m", "token_catalog", "shell", "--catalog", str(minilm)]
    for _ in ("made", "found again"):
        done = subprocess.run(command, input=script, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert "427" in done.stdout
        script = script.partition("create table")[0] + "select count(*) from mine.main.short;"


def test_it_names_every_table() -> None:
    text = README.read_text(encoding="utf-8")
    assert [table.name for table in TABLES if table.name not in text] == []
