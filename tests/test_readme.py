"""The README tells the truth: its questions give its answers, and its commands exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from catalog.schemas import TABLES
from ingest.recipes import Limits, load_additions, load_recipe
from tests.helpers import rows
from tests.readme import README, answer, pairs
from token_catalog import app

QUESTIONS = pairs(README.read_text(encoding="utf-8"))


def test_there_are_seventeen_questions() -> None:
    assert len(set(re.findall(r"^\*\*(\d+)\. ", README.read_text(encoding="utf-8"), re.MULTILINE))) == 17
    assert len(QUESTIONS) == 18  # two of them in two parts; the last one's answer depends on the machine


@pytest.mark.parametrize(("sql", "text"), QUESTIONS, ids=[str(i) for i in range(1, len(QUESTIONS) + 1)])
def test_a_question_gives_its_answer_in_the_shell_from_another_folder(
    minilm: Path, tmp_path: Path, sql: str, text: str
) -> None:
    assert answer(minilm, sql, cwd=tmp_path) == text


def test_its_commands_have_only_options_that_exist() -> None:
    group = typer.main.get_command(app)
    text = README.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^ +(token-catalog .*)$", text, re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        _, command, *rest = shlex.split(line, comments=True)
        subcommand = group.commands[command]  # type: ignore[attr-defined]
        subcommand.make_parser(typer.Context(subcommand)).parse_args(args=rest)


def test_its_recipes_are_ones(minilm: Path, tmp_path: Path) -> None:
    recipe, additions = re.findall(r"```toml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "recipe.toml"
    path.write_text(recipe, encoding="utf-8")
    loaded = load_recipe(path)
    assert loaded.sky.axes() == (1, 3, 2)
    assert loaded.linkage == Limits(0.02, 0.002)
    assert [reference.name for reference in loaded.references] == ["1.4a", "1.5c", "mean", "largest-component"]
    assert [cluster.name for cluster in loaded.clusters] == ["spike"]
    path.write_text(additions, encoding="utf-8")
    (reference,) = load_additions(path).references
    assert rows(minilm, f"select count(*) > 0 from members('{reference.value}')") == [(True,)]


def test_ones_own_tables_are_made_as_it_says(minilm: Path, tmp_path: Path) -> None:
    (script,) = re.findall(r"```sql\n(attach .*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    command = [sys.executable, "-m", "token_catalog", "shell", "--catalog", str(minilm)]
    for _ in ("made", "found again"):
        done = subprocess.run(command, input=script, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert "427" in done.stdout
        script = script.partition("create table")[0] + "select count(*) from mine.main.short;"


def test_it_names_every_table() -> None:
    text = README.read_text(encoding="utf-8")
    assert [table.name for table in TABLES if table.name not in text] == []
